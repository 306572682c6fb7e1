"""What the store hands out: frozen records, no ORM object leaves it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from evomerge.fitness import Costs, Split, TaskOutcomes, TaskScore, headlines_of
from evomerge.limits import Limits
from evomerge.recipe import Recipe
from evomerge.spec import SearchSpec


class SearchStatus(StrEnum):
    """`pausing` and `cancelling` are wishes of a user; the controller turns them into facts."""

    PENDING = "pending"
    RUNNING = "running"
    PAUSING = "pausing"
    PAUSED = "paused"
    CANCELLING = "cancelling"
    CANCELLED = "cancelled"
    FINISHED = "finished"
    FAILED = "failed"


STOPPED = (
    SearchStatus.PAUSED,
    SearchStatus.CANCELLED,
    SearchStatus.FINISHED,
    SearchStatus.FAILED,
)
"""Searches that nobody works on, and nobody will before somebody asks for it."""


class EvaluationStatus(StrEnum):
    PENDING = "pending"
    RUNNING = "running"
    SCORED = "scored"
    DROPPED = "dropped"
    """It lost its race: scored on a part of the documents, with an estimate as its fitness."""
    FAILED = "failed"


FINAL = (EvaluationStatus.SCORED, EvaluationStatus.DROPPED, EvaluationStatus.FAILED)
"""What an evaluation stays."""


class Origin(StrEnum):
    BASELINE = "baseline"
    SEARCH = "search"


@dataclass(frozen=True)
class Wanted:
    """What is wanted of a search now."""

    status: "SearchStatus"
    limits: Limits
    """What its user changed since it was submitted."""
    share: int | None
    """Of the workers, by the servers; None where no server shares them out."""


@dataclass(frozen=True)
class SearchRecord:
    id: str
    name: str
    status: SearchStatus
    spec: SearchSpec
    scope: str
    """Hash of everything besides the recipe that a score depends on: models, tasks, splits, engine.
    A recipe scored once in a scope is never scored again in it."""
    versions: Mapping[str, str]
    created_at: datetime
    updated_at: datetime
    message: str | None = None
    """Why it stopped, or the error it failed with."""


@dataclass(frozen=True)
class NewCandidate:
    """A candidate about to be inserted. `number` counts from 0 within the search, in asked order.

    asked_after: how many results the strategy had been told when it was asked. rival: the evaluation
    that its own one on the search split has to beat; None: it answers every document.
    """

    number: int
    origin: Origin
    recipe: Recipe
    generation: int | None = None
    label: str | None = None
    genome: tuple[float, ...] | None = None
    asked_after: int | None = None
    rival: int | None = None


@dataclass(frozen=True)
class CandidateRecord:
    id: int
    search_id: str
    number: int
    origin: Origin
    recipe: Recipe
    recipe_id: str
    generation: int | None
    label: str | None
    genome: tuple[float, ...] | None
    told: int | None
    """Place in the order of tells, from 0; None where the strategy was not told yet."""
    loss: float | None
    """What the strategy was told; infinity for a failure."""
    asked_after: int | None = None
    """How many results the strategy had been told when it was asked for this one."""


@dataclass(frozen=True)
class EvaluationRecord:
    """One candidate on one split."""

    id: int
    candidate_id: int
    split: Split
    status: EvaluationStatus
    attempts: int
    """Attempts begun so far, also those that were lost with their worker or controller."""
    failures: int = 0
    """Attempts that were reported as failed: what a limit of tries should count."""
    copied_from: int | None = None
    """The evaluation of the same recipe whose result was taken over."""
    rival: int | None = None
    """The evaluation that it had to beat; None where it did not race."""
    fitness: float | None = None
    fitness_stderr: float | None = None
    violation: float | None = None
    scores: tuple[TaskScore, ...] = ()
    costs: Costs | None = None
    error_type: str | None = None
    """Class of the last failure, also where the evaluation is pending again."""
    error: str | None = None
    retryable: bool = True

    @property
    def headlines(self) -> dict[str, TaskScore]:
        """Of each task the score that the objective asks for."""
        return headlines_of(self.scores)

    @property
    def documents(self) -> int:
        """How many documents the headline scores are made of."""
        return sum(score.n for score in self.headlines.values())


@dataclass(frozen=True, slots=True)
class Entrant:
    """What lists need of a candidate, without its recipe and genome."""

    id: int
    number: int
    origin: Origin
    label: str | None
    recipe_id: str


AnyCandidate = CandidateRecord | Entrant


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a candidate stands on one split."""

    candidate_id: int
    number: int
    label: str | None
    recipe_id: str
    status: EvaluationStatus
    fitness: float | None
    violation: float | None


@dataclass(frozen=True)
class AttemptRecord:
    evaluation_id: int
    number: int
    worker: str
    status: str
    """running, scored, failed, lost, or late (finished after it was given up; kept, changes nothing)."""
    started_at: datetime
    finished_at: datetime | None
    error_type: str | None
    error: str | None
    late_scores: tuple[TaskScore, ...] = ()
    """What a late attempt scored; it changed nothing."""


@dataclass(frozen=True)
class BestRow:
    """One row of `evomerge best`."""

    search_id: str
    search_name: str
    candidate_id: int
    number: int
    origin: Origin
    label: str | None
    recipe: Recipe
    split: Split
    fitness: float
    stderr: float | None
    scores: Mapping[str, float] = field(default_factory=dict)
    """The headline score of each task."""
    violation: float = 0.0
    """How far constraints are missed; such candidates come after all others."""


@dataclass(frozen=True)
class Progress:
    """How far a search is, in counts that are quick to get however many candidates there are.

    baselines: candidates that are baselines. candidates: all of them. told: how many results the
    strategy was told. counts: evaluations of each split by status (`pending`, `running`, `scored`,
    `dropped`, `failed`), and `reused` for those that took a result over. best: the best candidate on
    the search split, and its fitness.
    """

    baselines: int
    candidates: int
    told: int
    counts: Mapping[Split, Mapping[str, int]]
    best: CandidateRecord | None = None
    best_fitness: float | None = None

    def ended(self, split: Split) -> int:
        """Evaluations of a split that need nothing more; a reused one whose source still runs counts
        too."""
        final = ("scored", "dropped", "failed", "reused")
        return sum(self.counts[split].get(name, 0) for name in final)


@dataclass(frozen=True)
class QueryInfo:
    """A file of `db/queries`: what it answers and the parameters it takes."""

    name: str
    summary: str
    parameters: tuple[str, ...]


__all__ = [
    "AttemptRecord",
    "BestRow",
    "CandidateRecord",
    "EvaluationRecord",
    "EvaluationStatus",
    "NewCandidate",
    "Origin",
    "Progress",
    "QueryInfo",
    "SearchRecord",
    "SearchStatus",
    "TaskOutcomes",
]
