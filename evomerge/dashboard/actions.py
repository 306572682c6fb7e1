"""What people can do with a search from its page: plain forms that also work without a script.

`require` checks the CSRF token of each; the answer leads back to the page, which says what was done.
"""

from typing import Annotated

from fastapi import APIRouter, Form, Path
from fastapi.responses import RedirectResponse, Response

from evomerge.api.context import Here, Principal, require
from evomerge.queue.service import cancel_queued, edit_queued, pause_queued, resume_queued
from evomerge.store.access import Scope
from evomerge.store.types import SearchRecord

router = APIRouter(include_in_schema=False)
Changer = Annotated[Principal, require(Scope.SUBMIT)]
SearchId = Annotated[str, Path(max_length=200)]
_LARGEST = 1_000_000_000


@router.post("/searches/{search}/pause")
def pause(here: Here, who: Changer, search: SearchId) -> Response:
    """Let what is under way end, start nothing more."""
    record = here.changeable(who, search)
    pause_queued(here.store, record.id, who.owner)
    return _back(record, "paused")


@router.post("/searches/{search}/resume")
def resume(here: Here, who: Changer, search: SearchId) -> Response:
    """Have a server run it again."""
    record = here.changeable(who, search)
    resume_queued(here.store, record.id, who.owner)
    return _back(record, "resumed")


@router.post("/searches/{search}/cancel")
def cancel(here: Here, who: Changer, search: SearchId) -> Response:
    """Stop at once and for good."""
    record = here.changeable(who, search)
    cancel_queued(here.store, record.id, who.owner)
    return _back(record, "cancelled")


@router.post("/searches/{search}/priority")
def priority(
    here: Here,
    who: Changer,
    search: SearchId,
    priority: Annotated[int, Form(ge=-100, le=100)],
) -> Response:
    """Change its place among the searches of its owner."""
    record = here.changeable(who, search)
    here.store.set_priority(record.id, priority)
    return _back(record, "priority")


@router.post("/searches/{search}/budget")
def budget(
    here: Here,
    who: Changer,
    search: SearchId,
    candidates: Annotated[int, Form(ge=1, le=_LARGEST)],
    workers: Annotated[int, Form(ge=1, le=100_000)],
) -> Response:
    """Change how many candidates are tried, and with how many workers."""
    record = here.changeable(who, search)
    edit_queued(here.store, record.id, {"candidates": candidates}, workers, who.owner)
    return _back(record, "budget")


def _back(record: SearchRecord, done: str) -> Response:
    return RedirectResponse(f"/searches/{record.id}?done={done}", 303)
