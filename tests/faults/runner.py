"""The process that the kill tests kill: runs or resumes one search and exits 0 when it has ended."""

from __future__ import annotations

import sys

from evomerge.errors import EvomergeError
from evomerge.service import make_dispatcher, run_search
from evomerge.store import open_store
from evomerge.store.types import SearchStatus


def main(url: str, search_id: str, mode: str) -> int:
    store = open_store(url)
    dispatcher = make_dispatcher(store.search(search_id).spec, store.url, inline=mode == "inline")
    try:
        status = run_search(store, search_id, dispatcher)
    except EvomergeError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    finally:
        dispatcher.close()
    return 0 if status is SearchStatus.FINISHED else 3


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
