"""What a user can do with a search that servers run, as functions for the API and the dashboard."""

from collections.abc import Mapping
from typing import Any

from evomerge.errors import LimitError, SpecError
from evomerge.limits import Limits
from evomerge.service import ENDED, cancel_search, edit_search, pause_search
from evomerge.store import SQLStore
from evomerge.store.types import SearchStatus

_RESUMABLE = (SearchStatus.PAUSED, SearchStatus.FAILED)


def resume_queued(store: SQLStore, search_id: str, owner: str) -> SearchStatus:
    """Have the servers go on with a search; the status that now stands.

    One that was started without a server becomes `owner`'s. SpecError where it has ended; LimitError
    where its owner has as many as allowed.
    """
    search = store.search(search_id)
    if search.status in ENDED:
        raise SpecError(
            f"is {search.status} already",
            where=f"search {search.id} ({search.name})",
            remedy="submit it again for another one",
        )
    _check_room(store, search_id)
    store.set_status(search_id, SearchStatus.PENDING, only_from=_RESUMABLE)
    store.set_status(search_id, SearchStatus.RUNNING, only_from=[SearchStatus.PAUSING])
    if not store.set_wanted(search_id, True):
        store.adopt(search_id, owner)
    store.log(search_id, f"resumed by {owner}")
    return store.search(search_id).status


def pause_queued(store: SQLStore, search_id: str, who: str) -> None:
    """Let what is under way finish and start nothing more, as `who` wishes."""
    pause_search(store, search_id)
    _stop_waiting(store, search_id, f"paused by {who}")


def cancel_queued(store: SQLStore, search_id: str, who: str) -> None:
    """Stop at once and for good, as `who` wishes."""
    cancel_search(store, search_id)
    _stop_waiting(store, search_id, f"cancelled by {who}")


def edit_queued(
    store: SQLStore, search_id: str, budget: Mapping[str, Any], workers: int | None, who: str
) -> Limits:
    """Change limits as `edit_search` does, as `who` wishes; returns all that holds."""
    limits = edit_search(store, search_id, budget, workers)
    store.log(search_id, f"its limits were changed by {who}")
    return limits


def _stop_waiting(store: SQLStore, search_id: str, why: str) -> None:
    """Note why a search was stopped; one that nobody works on leaves the queue."""
    store.log(search_id, why)
    if store.search(search_id).status in (*ENDED, SearchStatus.PAUSED):
        store.set_wanted(search_id, False)


def _check_room(store: SQLStore, search_id: str) -> None:
    place = store.place(search_id)
    if place is None or place.wanted:
        return
    limits = store.owner(place.owner).limits
    open_ones = store.open_searches(place.owner)
    if limits.queued is not None and open_ones >= limits.queued:
        raise LimitError(
            f"{place.owner} has {open_ones} searches waiting or running, the most allowed",
            where="limits.queued",
            remedy="wait, cancel one, or ask an admin for more",
        )
