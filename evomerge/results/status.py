"""A search as seen from outside, in plain values: what `list` and `status` say, here and over HTTP."""

from typing import Any

from evomerge.fitness import Split
from evomerge.results.read import label_of
from evomerge.store.api import Store
from evomerge.store.types import Progress, SearchRecord

PHASES = ("baselines", "search", "validation", "test")


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


def describe(store: Store, search: SearchRecord) -> dict[str, Any]:
    """A search in plain values."""
    progress, limits = store.progress(search.id), store.limits(search.id)
    done = _done(progress)
    budget = limits.budget_of(search.spec).model_dump(mode="json", exclude_none=True)
    return {
        "search": search.id,
        "name": search.name,
        "status": search.status,
        "message": search.message,
        "phase": next(reversed(done), None),
        "done": done,
        "budget": budget,
        "workers": limits.workers_of(search.spec),
        "best_fitness": progress.best_fitness,
        "best_candidate": None if progress.best is None else label_of(progress.best),
        "dropped": progress.counts[Split.SEARCH]["dropped"],
        "failed": sum(counts.get("failed", 0) for counts in progress.counts.values()),
        "reused": sum(counts.get("reused", 0) for counts in progress.counts.values()),
        "base_model": search.spec.base_model,
        "models": search.spec.models,
        "tasks": [task.task for task in search.spec.objective.tasks],
        "seed": search.spec.strategy.seed,
        "created_at": search.created_at,
        "updated_at": search.updated_at,
        "versions": dict(search.versions),
    }


def _done(progress: Progress) -> dict[str, int]:
    """Evaluations that ended, by the phases that began."""
    ended = {split.value: progress.ended(split) for split in Split}
    baselines = min(ended["search"], progress.baselines)
    done = {**ended, "baselines": baselines, "search": ended["search"] - baselines}
    begun = {split.value for split, counts in progress.counts.items() if any(counts.values())}
    begun = begun | {"baselines"} if progress.candidates else set()
    if progress.candidates == progress.baselines:
        begun.discard("search")
    return {phase: done[phase] for phase in PHASES if phase in begun}
