"""What is changed about a search after it was submitted: its owner and admins may."""

from typing import Annotated

from evomerge.api.context import Here, Principal
from evomerge.api.openapi import SUBMIT, SearchName, make_router
from evomerge.api.views import search_state
from evomerge.queue.service import cancel_queued, edit_queued, pause_queued, resume_queued
from evomerge.wire import Edit, Limits, Priority, SearchState

router = make_router("steering")


@router.post("/searches/{search}/pause")
def pause(search: SearchName, here: Here, who: Annotated[Principal, SUBMIT]) -> SearchState:
    """Let what is under way finish, and start nothing more."""
    record = here.changeable(who, search)
    pause_queued(here.store, record.id, who.owner)
    return search_state(here, here.store.search(record.id))


@router.post("/searches/{search}/resume")
def resume(search: SearchName, here: Here, who: Annotated[Principal, SUBMIT]) -> SearchState:
    """Go on with a paused or failed search as soon as there is room for it."""
    record = here.changeable(who, search)
    resume_queued(here.store, record.id, who.owner)
    return search_state(here, here.store.search(record.id))


@router.post("/searches/{search}/cancel")
def cancel(search: SearchName, here: Here, who: Annotated[Principal, SUBMIT]) -> SearchState:
    """Stop at once and for good; what was scored is kept."""
    record = here.changeable(who, search)
    cancel_queued(here.store, record.id, who.owner)
    return search_state(here, here.store.search(record.id))


@router.patch("/searches/{search}/limits")
def edit(search: SearchName, body: Edit, here: Here, who: Annotated[Principal, SUBMIT]) -> Limits:
    """Change the budget or the number of workers, also while the search runs."""
    record = here.changeable(who, search)
    given = body.model_dump(exclude_none=True)
    workers = given.pop("workers", None)
    limits = edit_queued(here.store, record.id, given, workers, who.owner)
    shown = limits.model_dump(mode="json", exclude_none=True)
    return Limits(search=record.id, budget=shown.get("budget", {}), workers=limits.workers)


@router.put("/searches/{search}/priority")
def prioritise(
    search: SearchName, body: Priority, here: Here, who: Annotated[Principal, SUBMIT]
) -> SearchState:
    """Move a search before or behind others of its owner."""
    record = here.changeable(who, search)
    here.store.set_priority(record.id, body.priority)
    return search_state(here, here.store.search(record.id))
