"""What lists and charts of a large store are asked for, and what they get."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from evomerge.fitness import Split
from evomerge.store.types import CandidateRecord, EvaluationRecord, SearchRecord, SearchStatus


class Show(StrEnum):
    """Which candidates a list shows. `scored`: on all documents of the search split."""

    ALL = "all"
    SCORED = "scored"
    DROPPED = "dropped"
    FAILED = "failed"
    RUNNING = "running"
    PENDING = "pending"
    TAKEN_OVER = "taken over"
    BASELINES = "baselines"


@dataclass(frozen=True)
class SearchView:
    """Which searches. text: a part of the name, or the beginning of the id."""

    status: SearchStatus | None = None
    owner: str | None = None
    text: str = ""


@dataclass(frozen=True)
class CandidateView:
    """Which candidates, in which order.

    sort: `number`, `fitness` (those that miss a constraint come behind, those without a fitness last),
        or `task:NAME` (only those that have a score in it).
    text: a number, the beginning of a recipe's id, or a part of a baseline's name.
    """

    sort: str = "fitness"
    descending: bool = True
    show: Show = Show.ALL
    text: str = ""


@dataclass(frozen=True)
class SearchRow:
    """A search and its place on a server; None where none runs it."""

    search: SearchRecord
    owner: str | None = None
    priority: int | None = None


@dataclass(frozen=True)
class SearchPage:
    """Some of `total` searches."""

    rows: tuple[SearchRow, ...]
    total: int


@dataclass(frozen=True)
class CandidatePage:
    """Some of `total` candidates, each with its evaluation on the search split."""

    rows: tuple[tuple[CandidateRecord, EvaluationRecord], ...]
    total: int


@dataclass(frozen=True)
class Dot:
    """A candidate in a chart. fitness: an estimate where it was dropped."""

    number: int
    label: str | None
    fitness: float
    feasible: bool
    dropped: bool


@dataclass(frozen=True)
class Course:
    """How a search went, thinned out for a chart.

    candidates: that the search asked for. first: the number of the first of them. dots: some of
        them, evenly, and all of `records`. records: each time the best was beaten, as far as the
        thinning can tell: candidates that were the best of all up to the end of their stretch.
    """

    candidates: int
    first: int
    dots: tuple[Dot, ...] = ()
    records: tuple[Dot, ...] = ()


@dataclass(frozen=True)
class Job:
    """An attempt that is under way. started_at and now: seconds by the database's clock."""

    worker: str
    search_id: str
    search_name: str
    number: int
    label: str | None
    split: Split
    attempt: int
    started_at: float
    now: float

    @property
    def seconds(self) -> float:
        """How long it has been going."""
        return max(0.0, self.now - self.started_at)


@dataclass(frozen=True)
class Mishap:
    """An attempt that came to nothing, or too late. standing: what became of the evaluation."""

    search_id: str
    search_name: str
    number: int
    split: Split
    attempt: int
    worker: str
    status: str
    error_type: str | None
    error: str | None
    at: datetime | None
    standing: str | None


@dataclass(frozen=True)
class WorkerTime:
    """What a worker spent within a window of evaluations, in seconds.

    seconds: merge, load, forward and overhead of results that count, and `lost`, of attempts that
        came to nothing. busy: all attempts, begin to end. present: from the first to the last.
    """

    worker: str
    attempts: int
    seconds: Mapping[str, float]
    busy: float
    present: float
    last_at: float


@dataclass(frozen=True)
class Window:
    """Worker time of the latest `evaluations` of a search or of all; `whole` where that is all."""

    workers: Sequence[WorkerTime] = field(default_factory=tuple)
    evaluations: int = 0
    whole: bool = True
