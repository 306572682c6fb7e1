"""A search through a server: submit it, follow it, take the best recipe.

    evomerge serve &                        # in the folder of the models
    python examples/client.py search.yml

EVOMERGE_SERVER and EVOMERGE_TOKEN say which server, and who asks.
"""

from __future__ import annotations

import sys
from pathlib import Path

from evomerge import Client


def main(file: Path) -> None:
    """Submit, watch, and print the winner's recipe as mergekit YAML."""
    with Client() as client:
        search = client.submit(file)
        print(f"submitted: {search.search} ({search.status})", file=sys.stderr)
        for state in client.watch(search.search):
            print(state.status, state.done, state.best_fitness, file=sys.stderr)
        (best,) = client.best(search=search.search, limit=1)
        print(best.yaml, end="")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python examples/client.py search.yml")
    main(Path(sys.argv[1]))
