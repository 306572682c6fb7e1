"""What a user can do with searches, as functions: the CLI and later the API are shells over these."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from evomerge.controller import Controller, Listener
from evomerge.controller.core import STARTABLE
from evomerge.controller.events import ignore
from evomerge.dispatch import Dispatcher, InlineDispatcher
from evomerge.errors import LeaseLostError, ResourceError, SpecError
from evomerge.hub import local_folder, pin
from evomerge.layout import read_index
from evomerge.limits import Limits
from evomerge.observe.watching import watching
from evomerge.preflight import PreflightReport, preflight
from evomerge.preflight.checks import bind_space
from evomerge.spec import Budget, SearchSpec
from evomerge.staging import prints_in
from evomerge.starts import name_searches, read_recipes
from evomerge.store import SQLStore, make_owner, open_store, store_folder
from evomerge.store.types import SearchRecord, SearchStatus
from evomerge.worker import Worker

ENDED = (SearchStatus.FINISHED, SearchStatus.CANCELLED)
_OPEN = tuple(status for status in SearchStatus if status not in ENDED)
_MOMENT = 5.0


def check_search(
    spec: SearchSpec, store: str | None = None, *, here: bool = True
) -> PreflightReport:
    """Everything that is wrong with a search, raised; opens no store and writes nothing.

    Args:
        store: URL of the store that it will be written to.
        here: whether its workers run on this machine.
    """
    names = {model: pin(model) for model in (spec.base_model, *spec.models)}
    pinned = spec.model_copy(
        update={
            "base_model": names[spec.base_model],
            "models": tuple(names[model] for model in spec.models),
            # A preset that is edited later must not change what a resumed search means.
            "space": spec.space_spec,
        }
    )
    return preflight(read_recipes(pinned), store_folder=store_folder(store), here=here)


def submit_search(
    store: SQLStore, checked: PreflightReport, *, search_id: str | None = None
) -> SearchRecord:
    """Write a checked search down."""
    spec = name_searches(checked.spec, checked.scope, store)
    return store.create_search(
        spec, scope=checked.scope, versions=checked.versions, search_id=search_id
    )


def check_unchanged(search: SearchRecord, *, here: bool = True) -> None:
    """Raise SpecError where models, tasks or versions are not those that were scored so far.

    A search that went on with others would mix scores that cannot be compared.
    """
    _refuse_ended(search)
    now = preflight(search.spec, here=here)
    if now.scope == search.scope:
        return
    names = sorted(now.versions.keys() | search.versions.keys())
    changed = [
        f"{name} {search.versions.get(name, '-')} → {now.versions.get(name, '-')}"
        for name in names
        if now.versions.get(name) != search.versions.get(name)
    ]
    raise SpecError(
        f"cannot be continued: {', '.join(changed) or 'a model or a task file'} changed since it began",
        where=f"search {search.id} ({search.name})",
        remedy="put back what it began with, or start a new search",
    )


def make_dispatcher(
    spec: SearchSpec,
    store_url: str,
    address: str | None = None,
    *,
    inline: bool = False,
    versions: Mapping[str, str] | None = None,
    resumed: bool = False,
) -> Dispatcher:
    """Workers on Ray (local, or the cluster at `address`), or one in this process.

    Args:
        versions: that the search was submitted with; workers compare their models with those in it.
        resumed: the search has had workers; see `RayDispatcher`.
    """
    if inline:
        from evomerge.evaluation import make_evaluator

        return InlineDispatcher(Worker(open_store(store_url), lambda: make_evaluator(spec)))
    from evomerge.dispatch.ray_pool import RayDispatcher

    return RayDispatcher(spec, store_url, address, prints_in(versions or {}), resumed=resumed)


def had_workers(store: SQLStore, search_id: str) -> bool:
    """Whether a search has come as far as its first candidate, for which it had workers."""
    return store.progress(search_id).candidates > 0


def run_search(
    store: SQLStore,
    search_id: str,
    dispatcher: Dispatcher,
    listener: Listener = ignore,
    startable: Sequence[SearchStatus] = STARTABLE,
) -> SearchStatus:
    """Run or resume a search in this process until it ends, is paused or cancelled.

    Args:
        startable: what it may be started from. A person overrules an earlier pause; a server does not.
    """
    search = store.search(search_id)
    _refuse_ended(search)
    space = bind_space(search.spec, read_index(local_folder(search.spec.base_model)))
    with watching(search, listener) as told:
        controller = Controller(
            store, search, space, dispatcher, owner=make_owner(), listener=told, startable=startable
        )
        return controller.run()


def submit_detached(store: SQLStore, search_id: str, address: str) -> None:
    """Hand a search to a controller that lives on the cluster at `address`."""
    from evomerge.dispatch.connection import connect
    from evomerge.dispatch.detached import launch_controller, nodes

    _refuse_ended(store.search(search_id))
    connect(address)
    if store.folder is not None and nodes() > 1:
        raise ResourceError(
            "an SQLite store cannot be shared by the nodes of a cluster",
            where=store.url,
            remedy="use PostgreSQL: --store postgresql://user@host/database",
        )
    launch_controller(store.url, search_id, address, store.search(search_id).spec)


def pause_search(store: SQLStore, search_id: str) -> SearchStatus:
    """Let what is under way finish, start nothing more. Returns the status that now stands."""
    return _wish(store, search_id, SearchStatus.PAUSING, SearchStatus.PAUSED)


def cancel_search(store: SQLStore, search_id: str) -> SearchStatus:
    """Stop at once and for good; everything scored so far is kept."""
    return _wish(store, search_id, SearchStatus.CANCELLING, SearchStatus.CANCELLED)


def edit_search(
    store: SQLStore, search_id: str, budget: Mapping[str, Any], workers: int | None
) -> Limits:
    """Change what is named of a search's budget and its number of workers; returns all that holds.

    A running search hears of it within a second. Raises SpecError where nothing is named, where a
    value is no limit, or where the search has ended.
    """
    search = store.search(search_id)
    _refuse_ended(search)
    if not budget and workers is None:
        raise SpecError("nothing to change", where="edit", remedy="name a limit: --candidates 400")
    now = store.limits(search_id)
    wanted = {**now.budget_of(search.spec).model_dump(), **budget}
    try:
        limits = Limits(budget=Budget(**wanted), workers=workers or now.workers)
    except ValidationError as error:
        detail = error.errors()[0]
        where = ".".join(str(part) for part in detail["loc"])
        raise SpecError(detail["msg"], where=where, remedy="see docs/search_file.md") from error
    store.set_limits(search_id, limits)
    return limits


def _wish(store: SQLStore, search_id: str, wish: SearchStatus, fact: SearchStatus) -> SearchStatus:
    search = store.search(search_id)
    _refuse_ended(search)
    owner = make_owner()
    try:
        store.acquire_lease(search.id, owner, _MOMENT)
    except LeaseLostError:
        store.set_status(search.id, wish, only_from=_OPEN)
        return store.search(search.id).status
    # Nobody works on it: the wish is a fact at once.
    store.set_status(search.id, fact, only_from=_OPEN)
    store.release_lease(search.id, owner)
    return store.search(search.id).status


def _refuse_ended(search: SearchRecord) -> None:
    if search.status in ENDED:
        raise SpecError(
            f"is {search.status} already",
            where=f"search {search.id} ({search.name})",
            remedy=f"see its results with `evomerge best --search {search.id}`",
        )


__all__ = [
    "cancel_search",
    "check_search",
    "check_unchanged",
    "edit_search",
    "had_workers",
    "make_dispatcher",
    "pause_search",
    "run_search",
    "submit_detached",
    "submit_search",
]
