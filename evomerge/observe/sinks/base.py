"""The contract of a sink: open a run, log numbers under a step, close it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Run:
    """The search as a tracker sees it.

    id: the search's, by which a resumed search finds its run again. settings: the search file, flat:
    `strategy.name`, `budget.candidates`.
    """

    id: str
    name: str
    settings: Mapping[str, str | int | float | bool]


Known = frozenset[tuple[str, int]]
"""What a tracker has of a run: (split, candidate's number)."""
MARK = "failed"
"""The number that is logged of every evaluation, as `SPLIT/failed`: by it a tracker knows what it has."""


class Sink(Protocol):
    """One tracker. Called from one thread, in this order; may raise anything."""

    def open(self, run: Run) -> Known | None:
        """Begin a run, or go on with the one of the same id; returns what the tracker has of it, None
        where it cannot say."""
        ...

    def log(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers at a step (the candidate's number); all are finite."""
        ...

    def close(self, *, finished: bool) -> None:
        """End the run, or leave it for a later one to go on with."""
        ...
