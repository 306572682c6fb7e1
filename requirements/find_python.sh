#!/usr/bin/env bash
# Prints the Python that `make setup` builds .venv from: the one given, or the first that will do.
# 3.11 comes before newer ones because the pinned set was proven on it.
set -euo pipefail

usable() {
    "$1" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

for python in ${1:-python3.11 python3 python3.12 python3.13}; do
    if usable "$python"; then
        command -v "$python"
        exit 0
    fi
done
echo "setup: no Python of version 3.11 or newer with venv and ensurepip (looked for: ${1:-python3.11, python3, python3.12, python3.13})" >&2
echo "  → install Python 3.11 (on Debian and Ubuntu also python3.11-venv), or name one: make setup PYTHON=/path/to/python3.11" >&2
exit 1
