"""The process that runs one search for a server: `python -m evomerge.queue.child SEARCH`.

The store's URL comes by the environment (it may hold a password, which others would see on a command
line). Exit codes say what the server does next: 0 the search stopped as its user wished or ended; 2 a
mistake that a second try would not mend; 75 (`EX_TEMPFAIL`) another try may help; anything else, also a
signal, means that the process died. What stopped a search for good stands in the store.
"""

import argparse
import sys
from collections.abc import Sequence

from evomerge.controller.events import Event, Note, PhaseStarted
from evomerge.errors import EngineError, EvomergeError, LeaseLostError, StoreError
from evomerge.service import (
    check_unchanged,
    had_workers,
    make_dispatcher,
    run_search,
    submit_detached,
)
from evomerge.store import SQLStore, open_store
from evomerge.store.types import SearchRecord, SearchStatus

OK, MISTAKE, AGAIN = 0, 2, 75
STARTABLE = (SearchStatus.PENDING, SearchStatus.RUNNING)
"""A pause that came in meanwhile is not overruled."""
_PASSING = (EngineError, LeaseLostError, StoreError)


class SearchLog:
    """A listener that writes what is worth a line into the store."""

    def __init__(self, store: SQLStore, search_id: str) -> None:
        self._store, self._search_id = store, search_id

    def __call__(self, event: Event) -> None:
        """The listener."""
        if isinstance(event, PhaseStarted):
            self._store.log(self._search_id, f"{event.name} began")
        elif isinstance(event, Note):
            self._store.log(self._search_id, event.text)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the search; returns the exit code."""
    given = _parser().parse_args(arguments)
    store = open_store(create=False)
    try:
        search = store.search(given.search)
        if search.status not in STARTABLE:
            return OK
        if given.detach:
            submit_detached(store, search.id, given.detach)
        else:
            _run(store, search, inline=given.inline)
    except EvomergeError as error:
        return _report(store, given.search, error)
    finally:
        store.close()
    return OK


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="evomerge.queue.child")
    parser.add_argument("search")
    parser.add_argument("--inline", action="store_true")
    parser.add_argument("--detach", metavar="ADDRESS")
    return parser


def _run(store: SQLStore, search: SearchRecord, *, inline: bool) -> None:
    resumed = had_workers(store, search.id)
    if resumed:
        check_unchanged(search)
    dispatcher = make_dispatcher(
        search.spec, store.url, inline=inline, versions=search.versions, resumed=resumed
    )
    try:
        run_search(store, search.id, dispatcher, SearchLog(store, search.id), STARTABLE)
    finally:
        dispatcher.close()


def _report(store: SQLStore, search_id: str, error: EvomergeError) -> int:
    """Say it where the search's user and the server's operator look."""
    print(error, file=sys.stderr)
    if isinstance(error, _PASSING):
        return AGAIN
    store.set_status(search_id, SearchStatus.FAILED, message=str(error))
    return MISTAKE


if __name__ == "__main__":
    sys.exit(main())
