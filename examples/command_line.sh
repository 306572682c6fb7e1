#!/usr/bin/env bash
# A search from the shell, from the models to the merged one. Run it in an empty folder:
#
#   bash EXAMPLES/command_line.sh
set -euo pipefail
examples="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export EVOMERGE_STORE="$PWD/example.db"

python "$examples/models.py" .
evomerge inspect base support code german                # can they be merged, and how far apart are they?
evomerge validate search.yml                             # everything that is wrong, before a weight is read
evomerge run search.yml --inline --search-id example-1   # without --inline: workers on a local Ray
evomerge best --search example-1 --limit 3
evomerge query baselines_vs_best -p search=example-1
evomerge best --search example-1 --limit 1 --format yaml > best.yml
evomerge merge best.yml merged                           # as mergekit-yaml would
evomerge export example-1 winner                         # who won on the validation documents; with a model card
evomerge report example-1 --out report.html
