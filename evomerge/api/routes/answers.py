"""What a search found: the best, its candidates, questions, reports."""

from typing import Annotated

from fastapi import Body, Query
from fastapi import Path as PathParameter
from fastapi.responses import HTMLResponse, JSONResponse

from evomerge.api.context import Context, Here, Principal
from evomerge.api.errors import ApiError
from evomerge.api.openapi import READ, Key, Limit, Offset, SearchName, make_router
from evomerge.api.views import best_item, candidate_item, candidate_state, plain
from evomerge.fitness import Split
from evomerge.store.pages import CandidateView, Show
from evomerge.wire import (
    BestItem,
    CandidateList,
    CandidateState,
    QueryItem,
    Rows,
    SplitName,
)

router = make_router("answers")
QUERY_SECONDS, MOST_ROWS = 30.0, 10_000
_Name = Annotated[str, PathParameter(max_length=100)]
_Model = Annotated[str | None, Query(max_length=1000)]
_Value = int | float | str | None
_REPORT_CSP = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox allow-scripts; "
)
_REPORT_CSP += "script-src 'unsafe-inline'"


@router.get("/best")
def best(
    here: Here,
    who: Annotated[Principal, READ],
    search: Annotated[str | None, Query(max_length=200)] = None,
    base: _Model = None,
    task: Annotated[str | None, Query(max_length=200)] = None,
    split: SplitName | None = None,
    limit: Limit = 10,
) -> list[BestItem]:
    """The best candidates, of one search, of a base model or of all; feasible ones first."""
    search_id = _search_id(here, who, search)
    rows = here.store.best(
        search_id=search_id,
        base_model=base,
        task=task,
        split=None if split is None else Split(split),
        limit=limit,
    )
    return [best_item(row) for row in rows]


def _search_id(here: Context, who: Principal, search: str | None) -> str | None:
    """The search that is meant; one must be where owners are kept apart."""
    if search is not None:
        return here.visible(who, search).id
    if here.readable_owner(who) is not None:
        raise ApiError(
            422, "name a search", where="search", remedy="owners are kept apart on this server"
        )
    return None


@router.get("/searches/{search}/candidates")
def candidates(
    search: SearchName,
    here: Here,
    who: Annotated[Principal, READ],
    sort: Annotated[
        str,
        Query(
            max_length=200,
            pattern=r"^(number|fitness|task:.+)$",
            description="number, fitness, or task:NAME",
        ),
    ] = "fitness",
    descending: bool = True,
    show: Show = Show.ALL,
    text: Annotated[
        str, Query(max_length=100, description="A number, or the beginning of a recipe's id.")
    ] = "",
    limit: Limit = 50,
    offset: Offset = 0,
) -> CandidateList:
    """The candidates of a search with their scores on the search split."""
    record = here.visible(who, search)
    view = CandidateView(sort, descending, show, text)
    page = here.store.candidate_page(record.id, view, limit=limit, offset=offset)
    return CandidateList(items=[candidate_item(*pair) for pair in page.rows], total=page.total)


@router.get("/candidates/{candidate}")
def candidate(candidate: Key, here: Here, who: Annotated[Principal, READ]) -> CandidateState:
    """All about one candidate, with its recipe as mergekit's YAML."""
    found = here.store.candidate(candidate)
    here.visible(who, found.search_id)
    return candidate_state(here.store, found)


@router.get("/queries")
def queries(here: Here, who: Annotated[Principal, READ]) -> list[QueryItem]:
    """The questions that may be asked by name."""
    return [
        QueryItem(name=q.name, summary=q.summary, parameters=list(q.parameters))
        for q in here.store.queries()
    ]


@router.post("/queries/{name}")
def query(
    name: _Name,
    here: Here,
    who: Annotated[Principal, READ],
    parameters: Annotated[dict[str, _Value], Body(embed=True)],
) -> Rows:
    """Ask one of them. Read-only, and stopped where it takes too long."""
    if here.readable_owner(who) is not None:
        search = parameters.get("search")
        _search_id(here, who, None if search is None else str(search))
    columns, rows = here.store.query(name, parameters, seconds=QUERY_SECONDS, most=MOST_ROWS)
    return Rows(columns=columns, rows=plain(rows))


@router.get("/searches/{search}/report")
def report(search: SearchName, here: Here, who: Annotated[Principal, READ]) -> JSONResponse:
    """The data of the report."""
    from evomerge.report.content import report_content
    from evomerge.report.data import gather

    return JSONResponse(report_content(gather(here.store, here.visible(who, search))))


@router.get("/searches/{search}/report.html", responses={200: {"content": {"text/html": {}}}})
def report_page(search: SearchName, here: Here, who: Annotated[Principal, READ]) -> HTMLResponse:
    """The report as one page, shut off from the rest of this server."""
    from evomerge.report.data import gather
    from evomerge.report.page import render

    page = render(gather(here.store, here.visible(who, search)))
    return HTMLResponse(page, headers={"Content-Security-Policy": _REPORT_CSP})
