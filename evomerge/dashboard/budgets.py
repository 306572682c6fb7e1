"""What of a search's budget is spent."""

from collections.abc import Callable
from dataclasses import dataclass

from evomerge.dashboard.standing import Standing
from evomerge.dashboard.tables import Tables
from evomerge.dashboard.words import count, duration
from evomerge.store import SQLStore

_FRESH = 200
"""Worker time of a long search is added up anew after so many results."""


@dataclass(frozen=True)
class Meter:
    """One limit: its name, what is spent and what there is, in words, and the share."""

    name: str
    spent: str
    limit: str
    share: float


def read_meters(store: SQLStore, standing: Standing, tables: Tables) -> tuple[Meter, ...]:
    """Every limit that the budget names; candidates first."""
    budget = standing.budget
    meters = [Meter("Candidates", count(standing.done), count(standing.total), standing.share)]
    if budget.tokens is None and budget.hours is None and budget.gpu_hours is None:
        return tuple(meters)
    seconds, tokens = _spent(store, standing, tables)
    if budget.tokens is not None:
        meters.append(_meter("Tokens", tokens, budget.tokens, count))
    if budget.hours is not None:
        of_workers = seconds / standing.workers
        meters.append(_meter("Hours", of_workers, 3600 * budget.hours, duration))
    if budget.gpu_hours is not None:
        of_gpus = seconds * standing.search.spec.workers.gpus
        meters.append(_meter("GPU hours", of_gpus, 3600 * budget.gpu_hours, duration))
    return tuple(meters)


def _meter(name: str, spent: float, limit: float, word: Callable[[float], str]) -> Meter:
    return Meter(name, word(spent), word(limit), min(1.0, spent / limit))


def _spent(store: SQLStore, standing: Standing, tables: Tables) -> tuple[float, int]:
    search, told = standing.search.id, standing.progress.told
    age = told // _FRESH if told > 10 * _FRESH else told
    found: tuple[float, int] = tables.keep(
        ("spent", search, age), lambda: store.spent_seconds(search)
    )
    return found
