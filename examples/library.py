"""A search from Python, in this process: check a search file, run it, look at what came of it.

python examples/library.py search.yml [STORE]
"""

from __future__ import annotations

import sys
from pathlib import Path

from evomerge.controller.events import Event
from evomerge.errors import UsageError
from evomerge.results import read_results
from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.spec import load_spec
from evomerge.store import open_store


def show(event: Event) -> None:
    """What a listener gets: everything that happens, as typed values."""
    print(type(event).__name__, end=" ", file=sys.stderr)


def main(file: Path, store_url: str) -> None:
    """One search, from the file to its winner."""
    store = open_store(store_url)
    checked = check_search(load_spec(file), store.url)  # everything that is wrong, raised together
    search = submit_search(store, checked)
    dispatcher = make_dispatcher(search.spec, store.url, inline=True)  # without inline: a local Ray
    status = run_search(store, search.id, dispatcher, show)
    print(f"\n{search.id}: {status.value}", file=sys.stderr)
    results = read_results(store, store.search(search.id))
    for row in results.rows:
        print(f"{row.fitness.value:.3f}  {row.label}")
    print(results.sentence)
    store.close()


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        raise SystemExit("usage: python examples/library.py search.yml [STORE]")
    try:
        main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) == 3 else "example.db")
    except UsageError as error:
        raise SystemExit(str(error)) from None
