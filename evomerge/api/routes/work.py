"""What happens now and what went wrong: logs, workers, errors; and exports."""

from typing import Annotated

from fastapi import Query

from evomerge.api.context import Context, Here, Principal
from evomerge.api.openapi import READ, SUBMIT, Key, Limit, Offset, SearchName, make_router
from evomerge.api.views import error_item, export_item, worker_item
from evomerge.export.candidates import find_candidate
from evomerge.queue.exports import target
from evomerge.store.access import ExportRecord
from evomerge.wire import ErrorItem, ExportItem, ExportRequest, LogItem, WorkerItem

router = make_router("work")


@router.get("/searches/{search}/logs")
def logs(
    search: SearchName,
    here: Here,
    who: Annotated[Principal, READ],
    after: Annotated[int, Query(ge=0, lt=2**63, description="The last line that is known.")] = 0,
    limit: Limit = 200,
) -> list[LogItem]:
    """A search's log, oldest line first: the last lines, or those after one that is known."""
    record = here.visible(who, search)
    lines = here.store.log_lines(record.id, after=after, limit=limit)
    return [LogItem(id=x.id, at=x.at, level=x.level, message=x.message) for x in lines]


@router.get("/searches/{search}/errors")
def errors(
    search: SearchName,
    here: Here,
    who: Annotated[Principal, READ],
    limit: Limit = 50,
    offset: Offset = 0,
) -> list[ErrorItem]:
    """What went wrong while candidates were scored, newest first, each with its remedy."""
    record = here.visible(who, search)
    return [error_item(x) for x in here.store.mishaps([record.id], limit=limit, offset=offset)]


@router.get("/workers")
def workers(here: Here, who: Annotated[Principal, READ], limit: Limit = 500) -> list[WorkerItem]:
    """What workers are doing now, the longest first."""
    jobs = here.store.jobs(limit)
    return [worker_item(job) for job in jobs if here.may_read(who, job.search_id)]


@router.post("/exports", status_code=202)
def export(body: ExportRequest, here: Here, who: Annotated[Principal, SUBMIT]) -> ExportItem:
    """Have a candidate merged into a new folder below the server's export folder."""
    target(here.settings.export_folder, body.folder)
    search, _, _ = body.candidate.partition(":")
    if not body.candidate.isdecimal():
        here.visible(who, search)
    found = find_candidate(here.store, body.candidate)
    here.visible(who, found.search_id)
    return export_item(here, here.store.add_export(found.id, who.owner, body.folder))


@router.get("/exports")
def exports(
    here: Here,
    who: Annotated[Principal, READ],
    search: Annotated[str | None, Query(max_length=200)] = None,
    limit: Limit = 50,
) -> list[ExportItem]:
    """Exports, newest first."""
    search_id = None if search is None else here.visible(who, search).id
    found = here.store.exports(search_id=search_id, limit=limit)
    return [export_item(here, x) for x in found if here.may_read(who, x.search_id)]


@router.get("/exports/{export}")
def show_export(export: Key, here: Here, who: Annotated[Principal, READ]) -> ExportItem:
    """How far an export is, and where it lies."""
    return export_item(here, _visible_export(here, who, export))


def _visible_export(here: Context, who: Principal, export: int) -> ExportRecord:
    found = here.store.export(export)
    here.visible(who, found.search_id)
    return found
