"""The routes that people look at; `actions` holds those that change something."""

from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import HTMLResponse, PlainTextResponse, RedirectResponse, Response

from evomerge.api.context import Context, Here, Principal, require
from evomerge.dashboard import actions
from evomerge.dashboard.assets import assets
from evomerge.dashboard.candidate import read_candidate
from evomerge.dashboard.candidates import read_candidates
from evomerge.dashboard.comparing import parse_pick, read_pairing
from evomerge.dashboard.overview import read_live, view_recipe, view_time
from evomerge.dashboard.paging import LAST_PAGE, with_query
from evomerge.dashboard.rendering import fragment, page
from evomerge.dashboard.searches import read_searches
from evomerge.dashboard.searchfile import search_file
from evomerge.dashboard.standing import Standing, find_row, read_heading, read_standing
from evomerge.dashboard.tables import Tables
from evomerge.dashboard.troubles import read_troubles
from evomerge.dashboard.workers import read_fleet
from evomerge.errors import NotFoundError, UsageError
from evomerge.merging.mergekit_yaml import dump_recipe
from evomerge.store.access import Scope
from evomerge.store.pages import CandidateView, SearchView, Show
from evomerge.store.types import SearchRecord, SearchStatus

Reader = Annotated[Principal, require(Scope.READ)]
Text = Annotated[str, Query(max_length=200)]
SearchId = Annotated[str, Path(max_length=200)]
Number = Annotated[int, Path(ge=0, le=999_999_999)]


def make_router() -> APIRouter:
    """All routes of the dashboard; what takes long to compute is kept with it."""
    tables = Tables()
    router = APIRouter(include_in_schema=False, default_response_class=HTMLResponse)
    _add_lists(router)
    _add_search(router, tables)
    _add_candidates(router, tables)
    _add_static(router)
    router.include_router(actions.router)
    return router


def _add_lists(router: APIRouter) -> None:
    @router.get("/")
    def searches(
        request: Request,
        here: Here,
        who: Reader,
        status: Text = "",
        owner: Text = "",
        q: Text = "",
        page_number: Annotated[int, Query(alias="page", ge=1, le=LAST_PAGE)] = 1,
    ) -> Response:
        known = status if status in set(SearchStatus) else None
        view = SearchView(SearchStatus(known) if known else None, owner or None, q.strip())
        found = read_searches(here.store, view, page_number, restricted_to=here.readable_owner(who))
        return page(
            request,
            who,
            "searches",
            found=found,
            statuses=list(SearchStatus),
            pages=lambda number: _list(view, number),
        )

    @router.get("/workers")
    def workers(request: Request, here: Here, who: Reader) -> Response:
        return page(request, who, "workers", fleet=_fleet(here, who))

    @router.get("/workers/live")
    def workers_live(request: Request, here: Here, who: Reader) -> Response:
        return fragment(request, "workers_live", stop=False, fleet=_fleet(here, who))

    @router.get("/errors")
    def errors(
        request: Request,
        here: Here,
        who: Reader,
        number: Annotated[int, Query(alias="page", ge=1, le=LAST_PAGE)] = 1,
    ) -> Response:
        found = read_troubles(here.store, None, number, restricted_to=here.readable_owner(who))
        return page(
            request, who, "troubles", found=found, standing=None, pages=_numbered("/errors")
        )


def _fleet(here: Context, who: Principal) -> Any:
    return read_fleet(here.store, restricted_to=here.readable_owner(who))


def _list(view: SearchView, number: int) -> str:
    """The address of a page of the list of searches."""
    chosen = {
        "status": view.status.value if view.status else None,
        "owner": view.owner,
        "q": view.text,
        "page": number if number > 1 else None,
    }
    return with_query("/", chosen)


def _numbered(path: str) -> Callable[[int], str]:
    return lambda number: with_query(path, {"page": number if number > 1 else None})


def _standing(here: Context, search: SearchRecord) -> Standing:
    return read_standing(here.store, find_row(here.store, search))


def _add_search(router: APIRouter, tables: Tables) -> None:
    @router.get("/searches/{search}")
    def search_page(request: Request, here: Here, who: Reader, search: SearchId) -> Response:
        record = here.visible(who, search)
        if record.id != search:
            return RedirectResponse(f"/searches/{record.id}", 303)
        live = read_live(here.store, _standing(here, record), tables)
        best = live.results.recipe if live.results and live.results.recipe else None
        if best is None and live.standing.progress.best is not None:
            best = live.standing.progress.best.recipe
        return page(
            request,
            who,
            "search",
            live=live,
            standing=live.standing,
            recipe=None if best is None else view_recipe(best),
            yaml="" if best is None else dump_recipe(best),
            time=view_time(here.store.worker_times(record.id)),
            log=here.store.log_lines(record.id, limit=20),
            may_change=_may_change(here, who, record),
        )

    @router.get("/searches/{search}/live")
    def search_live(request: Request, here: Here, who: Reader, search: SearchId) -> Response:
        record = here.visible(who, search)
        live = read_live(here.store, _standing(here, record), tables)
        stop = not live.standing.moving
        return fragment(request, "search_live", stop=stop, live=live, standing=live.standing)

    @router.get("/searches/{search}/errors")
    def search_errors(
        request: Request,
        here: Here,
        who: Reader,
        search: SearchId,
        number: Annotated[int, Query(alias="page", ge=1, le=LAST_PAGE)] = 1,
    ) -> Response:
        record = here.visible(who, search)
        found = read_troubles(here.store, record, number)
        pages = _numbered(f"/searches/{record.id}/errors")
        standing = read_heading(here.store, record)
        return page(request, who, "troubles", found=found, standing=standing, pages=pages)

    @router.get("/searches/{search}/file")
    def show_file(request: Request, here: Here, who: Reader, search: SearchId) -> Response:
        record = here.visible(who, search)
        standing = read_heading(here.store, record)
        return page(request, who, "file", standing=standing, yaml=search_file(record))


def _may_change(here: Context, who: Principal, record: SearchRecord) -> bool:
    if not who.scope.covers(Scope.SUBMIT):
        return False
    return who.scope is Scope.ADMIN or here.store.owner_of(record.id) == who.owner


def _add_candidates(router: APIRouter, tables: Tables) -> None:
    @router.get("/searches/{search}/candidates")
    def candidates(
        request: Request,
        here: Here,
        who: Reader,
        search: SearchId,
        sort: Text = "fitness",
        order: Text = "",
        show: Text = "",
        q: Text = "",
        number: Annotated[int, Query(alias="page", ge=1, le=LAST_PAGE)] = 1,
    ) -> Response:
        record = here.visible(who, search)
        shown = Show(show) if show in set(Show) else Show.ALL
        view = CandidateView(sort, order != "up", shown, q.strip())
        found = read_candidates(here.store, record, view, number)
        standing = _standing(here, record)
        return page(request, who, "candidates", found=found, standing=standing, shows=list(Show))

    @router.get("/searches/{search}/candidates/{number}")
    def candidate(
        request: Request, here: Here, who: Reader, search: SearchId, number: Number
    ) -> Response:
        record = here.visible(who, search)
        readable = partial(here.may_read, who)
        found = read_candidate(here.store, record, number, tables, readable)
        return page(request, who, "candidate", found=found)

    @router.get("/searches/{search}/candidates/{number}/recipe.yml")
    def recipe(here: Here, who: Reader, search: SearchId, number: Number) -> Response:
        record = here.visible(who, search)
        text = dump_recipe(here.store.numbered(record.id, number).recipe)
        name = f'attachment; filename="{record.id}-{number}.yml"'
        return PlainTextResponse(
            text, media_type="application/yaml", headers={"Content-Disposition": name}
        )

    @router.get("/compare")
    def compare(
        request: Request,
        here: Here,
        who: Reader,
        pick: Annotated[list[str], Query(max_length=50)] = [],  # noqa: B006
    ) -> Response:
        if len(pick) != 2:
            raise UsageError(
                f"two candidates are compared, and {len(pick)} are chosen",
                where="compare",
                remedy="go back and tick two",
            )
        first, second = ((here.visible(who, s), n) for s, n in map(parse_pick, pick))
        found = read_pairing(here.store, first, second, tables)
        return page(request, who, "compare", found=found)


def _add_static(router: APIRouter) -> None:
    @router.get("/static/{name}")
    def static(request: Request, name: str) -> Response:
        """Public: the page for signing in needs them too."""
        asset = assets().get(name)
        if asset is None:
            raise NotFoundError(f"no file {name!r}", remedy="load the page again")
        fixed = request.query_params.get("v") == asset.version
        keep = "public, max-age=31536000, immutable" if fixed else "no-cache"
        headers = {"Cache-Control": keep, "ETag": f'"{asset.version}"'}
        if request.headers.get("if-none-match") == headers["ETag"]:
            return Response(status_code=304, headers=headers)
        return Response(asset.content, media_type=asset.media_type, headers=headers)
