"""`status`, `list`, `watch`: looking at searches, wherever they run."""

import time
from collections import Counter
from typing import Annotated, Any

import typer

from evomerge.cli.exits import FAILED
from evomerge.cli.meter import Meter
from evomerge.cli.options import FormatOption, SearchArgument, StoreOption
from evomerge.cli.output import Format, cell, note, print_json, print_table
from evomerge.cli.polling import EventFeed
from evomerge.cli.progress import SearchProgress
from evomerge.cli.stores import store_at
from evomerge.store import SQLStore
from evomerge.store.types import SearchRecord, SearchStatus

STOPPED = (
    SearchStatus.PAUSED,
    SearchStatus.CANCELLED,
    SearchStatus.FINISHED,
    SearchStatus.FAILED,
)
_SILENCE = 120.0


def status(
    search: SearchArgument, store: StoreOption = None, format: FormatOption = Format.TABLE
) -> None:
    """How far a search is, its best candidate so far, its failures and versions."""
    with store_at(store) as opened:
        described = describe(opened, opened.search(search))
    if format is Format.JSON:
        print_json(described)
        return
    rows = [(key.replace("_", " "), _one_line(value)) for key, value in described.items()]
    print_table(["search", described["search"]], [row for row in rows[1:] if row[1]])


def describe(store: SQLStore, search: SearchRecord) -> dict[str, Any]:
    """A search in plain values."""
    meter, phases = Meter(), Counter[str]()
    for event in EventFeed(store, search).poll():
        meter.feed(event)
        phases[meter.phase] = meter.done
    evaluations = store.evaluations(search.id)
    costs = [e.costs.total_seconds for e in evaluations if e.costs and e.copied_from is None]
    return {
        "search": search.id,
        "name": search.name,
        "status": search.status,
        "message": search.message,
        "phase": meter.phase if phases else None,
        "done": dict(phases),
        "budget": search.spec.budget.candidates,
        "best_fitness": meter.best.value if meter.best else None,
        "best_candidate": meter.best_label,
        "failed": meter.failed,
        "reused": sum(e.copied_from is not None for e in evaluations),
        "worker_seconds": round(sum(costs), 1),
        "base_model": search.spec.base_model,
        "models": search.spec.models,
        "tasks": [task.task for task in search.spec.objective.tasks],
        "seed": search.spec.strategy.seed,
        "created_at": search.created_at,
        "updated_at": search.updated_at,
        "versions": dict(search.versions),
    }


def _one_line(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else cell(value)


def list_searches(store: StoreOption = None, format: FormatOption = Format.TABLE) -> None:
    """All searches of the store, newest first."""
    with store_at(store) as opened:
        rows = [_summary(record) for record in opened.searches()]
    if format is Format.JSON:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        note("no searches yet; start one with: evomerge run FILE")


def _summary(search: SearchRecord) -> dict[str, Any]:
    return {
        "id": search.id,
        "name": search.name,
        "status": search.status,
        "models": len(search.spec.models),
        "budget": search.spec.budget.candidates,
        "created": search.created_at,
        "updated": search.updated_at,
    }


def watch(
    search: SearchArgument,
    store: StoreOption = None,
    interval: Annotated[
        float, typer.Option("--interval", min=0.1, help="Seconds between two looks.")
    ] = 1.0,
    format: FormatOption = Format.TABLE,
) -> None:
    """Follow a search until it stops, wherever it runs; Ctrl-C stops the watching alone."""
    with store_at(store) as opened:
        record = _follow(opened, opened.search(search), interval)
        note(
            f"search {record.id} is {record.status}"
            + (f": {record.message}" if record.message else "")
        )
        if record.status is SearchStatus.FINISHED:
            _show(opened, record, format)
        if record.status is SearchStatus.FAILED:
            raise typer.Exit(FAILED)


def _follow(store: SQLStore, search: SearchRecord, interval: float) -> SearchRecord:
    feed = EventFeed(store, search)
    news_at, warned = time.monotonic(), False
    with SearchProgress(store, search.id) as progress:
        while True:
            current = store.search(search.id)
            for event in feed.poll():
                progress(event)
                news_at, warned = time.monotonic(), False
            if current.status in STOPPED:
                return current
            if time.monotonic() - news_at > _SILENCE and not warned:
                warned = True
                note(
                    f"no news for {_SILENCE:.0f} s; if its controller died: evomerge resume {search.id}"
                )
            time.sleep(interval)


def _show(store: SQLStore, search: SearchRecord, format: Format) -> None:
    from evomerge.cli.tables import print_results
    from evomerge.results import read_results

    print_results(read_results(store, search), format)
