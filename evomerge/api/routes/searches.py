"""Searches: submit, list, look at, follow."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from evomerge.api.checking import check
from evomerge.api.context import Context, Here, Principal
from evomerge.api.intake import check_allowed, read_submission
from evomerge.api.looks import Looks
from evomerge.api.openapi import READ, SUBMIT, Limit, Offset, SearchName, make_router
from evomerge.api.views import search_item, search_state
from evomerge.errors import UsageError
from evomerge.spec import SearchSpec
from evomerge.store.pages import SearchView
from evomerge.store.types import STOPPED, SearchRecord, SearchStatus
from evomerge.wire import SearchList, SearchState, Submission

router = make_router("searches")
_BEAT_SECONDS = 15.0


@router.post("/searches", status_code=201)
def submit(
    body: Submission,
    answer: Response,
    here: Here,
    who: Annotated[Principal, SUBMIT],
    idempotency_key: Annotated[
        str | None,
        Header(
            min_length=1, max_length=100, pattern=r"^[\w.:-]+$", description="Makes retries safe."
        ),
    ] = None,
) -> SearchState:
    """Check a search file and queue the search. A request sent twice with one key makes one search."""
    fingerprint = hashlib.sha256(f"{body.priority}\n{body.file}".encode()).hexdigest()
    if idempotency_key is not None:
        earlier = here.store.submitted_before(who.owner, idempotency_key, fingerprint)
        if earlier is not None:
            answer.status_code = 200
            return search_state(here, earlier)
    spec = read_submission(body.file, here.settings)
    _check_starts(spec, here, who)
    checked = check(spec, here)
    check_allowed(checked.spec, here.settings)
    search, new = here.store.enqueue(
        checked.spec,
        scope=checked.scope,
        versions=checked.versions,
        owner=who.owner,
        priority=body.priority,
        key=idempotency_key,
        fingerprint=fingerprint,
    )
    if new:
        here.store.log(search.id, f"submitted by {who.owner}")
    answer.status_code = 201 if new else 200
    return search_state(here, search)


def _check_starts(spec: SearchSpec, here: Context, who: Principal) -> None:
    """A search may learn from those alone that its owner may read."""
    if here.readable_owner(who) is None:
        return
    if spec.strategy.start.searches == "auto":
        raise UsageError(
            "`auto` looks at all searches, and owners are kept apart here",
            where="strategy.start.searches",
            remedy="name your own searches",
        )
    for name in spec.strategy.start.searches:
        here.visible(who, name)


@router.get("/searches")
def list_searches(
    here: Here,
    who: Annotated[Principal, READ],
    owner: Annotated[str | None, Query(max_length=100)] = None,
    status: SearchStatus | None = None,
    text: Annotated[str, Query(max_length=100, description="In the name.")] = "",
    limit: Limit = 50,
    offset: Offset = 0,
) -> SearchList:
    """Searches, newest first."""
    view = SearchView(status, here.readable_owner(who) or owner, text)
    page = here.store.search_page(view, limit=limit, offset=offset)
    return SearchList(items=[search_item(row) for row in page.rows], total=page.total)


@router.get("/searches/{search}")
def show(search: SearchName, here: Here, who: Annotated[Principal, READ]) -> SearchState:
    """How far a search is, and everything that was decided about it."""
    return search_state(here, here.visible(who, search))


@router.get(
    "/searches/{search}/events",
    response_class=StreamingResponse,
    responses={200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}}},
)
def watch(
    search: SearchName,
    request: Request,
    here: Here,
    who: Annotated[Principal, READ],
    seconds: Annotated[float, Query(gt=0, le=3600, description="How long to follow.")] = 600.0,
) -> StreamingResponse:
    """Server-sent events: the state of a search, as often as it changes, until it stops.

    Each event `state` has what `GET /searches/{search}` gives. `end` says that it stopped; without it
    the time was over: ask again.
    """
    record = here.visible(who, search)
    here.streams.open(who.owner)
    events = _closing(_events(request, here, record, seconds), here, who)
    return StreamingResponse(events, media_type="text/event-stream")


async def _closing(events: AsyncIterator[str], here: Context, who: Principal) -> AsyncIterator[str]:
    try:
        async for event in events:
            yield event
    finally:
        here.streams.close(who.owner)


async def _events(
    request: Request, here: Context, search: SearchRecord, seconds: float
) -> AsyncIterator[str]:
    clock = asyncio.get_running_loop().time
    end, beat, last = clock() + seconds, clock() + _BEAT_SECONDS, ""
    while clock() < end and not await request.is_disconnected():
        state = await asyncio.to_thread(_looks(here).at, search.id)
        text = state.model_dump_json()
        if text != last:
            last, beat = text, clock() + _BEAT_SECONDS
            yield f"event: state\ndata: {text}\n\n"
        elif clock() > beat:  # or a proxy takes the silence for the end
            beat = clock() + _BEAT_SECONDS
            yield ": still there\n\n"
        if state.status in STOPPED:
            yield "event: end\ndata: {}\n\n"
            return
        await asyncio.sleep(min(1.0, max(0.0, end - clock())))


def _looks(here: Context) -> Looks[SearchState]:
    """Shared by all streams of this server."""
    if here.looks is None:
        here.looks = Looks(lambda search_id: search_state(here, here.store.search(search_id)))
    return here.looks
