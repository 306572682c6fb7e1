"""A search seen from outside: described once, or followed until it stops."""

import time
from collections import Counter
from typing import Any

from evomerge.cli.meter import Meter
from evomerge.cli.output import note
from evomerge.cli.polling import EventFeed
from evomerge.cli.progress import SearchProgress
from evomerge.store import SQLStore
from evomerge.store.types import SearchRecord, SearchStatus

STOPPED = (
    SearchStatus.PAUSED,
    SearchStatus.CANCELLED,
    SearchStatus.FINISHED,
    SearchStatus.FAILED,
)
_SILENCE = 120.0


def summarise(search: SearchRecord) -> dict[str, Any]:
    """A line of `list`."""
    return {
        "id": search.id,
        "name": search.name,
        "status": search.status,
        "models": len(search.spec.models),
        "budget": search.spec.budget.candidates,
        "created": search.created_at,
        "updated": search.updated_at,
    }


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


def follow(store: SQLStore, search: SearchRecord, interval: float) -> SearchRecord:
    """Show progress until the search stops; returns it as it then is."""
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
