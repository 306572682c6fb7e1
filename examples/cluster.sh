#!/usr/bin/env bash
# A cluster on one machine: a Ray head and two nodes, one of which is lost while the search runs. Its candidates
# go to the other one. Run it in an empty folder:
#
#   bash EXAMPLES/cluster.sh
#
# Clusters of several machines need a PostgreSQL store, and a token for Ray (RAY_AUTH_MODE=token): workers/ and
# docker/ have both. This one listens on loopback addresses and ends with the script.
set -euo pipefail
examples="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
export EVOMERGE_STORE="$PWD/example.db" RAY_AUTH_MODE=disabled RAY_USAGE_STATS_ENABLED=0
port="${EVOMERGE_RAY_PORT:-26379}"
address="127.0.0.1:$port"
nodes=()

node() { # OPTIONS…: one Ray node, in a process group of its own
    setsid ray start --block --disable-usage-stats --object-store-memory=80000000 "$@" >>ray.log 2>&1 &
    nodes+=($!)
    until [[ $(grep -c "Ray runtime started" ray.log) -ge ${#nodes[@]} ]]; do
        kill -0 "${nodes[-1]}" 2>/dev/null || { tail ray.log; echo "a Ray node did not start" >&2; exit 1; }
        sleep 0.5
    done
}
finish() {
    [[ -z "${watcher:-}" ]] || kill "$watcher" 2>/dev/null || true
    for pid in "${nodes[@]}"; do kill -KILL -- "-$pid" 2>/dev/null || true; done
}
trap finish EXIT

python "$examples/models.py" .
# A candidate takes a moment, so that there is something to lose.
sed -i 's/engine: {name: fake}.*/engine: {name: fake, fake_seconds: 0.3}/' search.yml
# More may be asked for than the cluster has now: workers start where a node joins.
printf 'workers: {max: 4, autoscale: true}\n' >> search.yml

node --head --port="$port" --node-ip-address=127.0.0.1 --num-cpus=0 --include-dashboard=false \
    --temp-dir="$(mktemp -d /tmp/evo-XXXXXX)" # short: Ray's sockets lie in it
node --address="$address" --node-ip-address=127.0.0.2 --num-cpus=2
node --address="$address" --node-ip-address=127.0.0.3 --num-cpus=2

(   # as soon as there are results, a node goes as spot nodes go
    until evomerge status example-2 --format json 2>/dev/null | grep -q '"best_fitness": [0-9]'; do sleep 1; done
    kill -KILL -- "-${nodes[2]}"
) &
watcher=$!
evomerge run search.yml --address "$address" --search-id example-2
evomerge query workers -p search=example-2
evomerge best --search example-2 --limit 1 --format yaml
