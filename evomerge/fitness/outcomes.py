"""What a worker finds out about a candidate: outcomes of documents, scores of tasks, costs."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class TaskOutcomes:
    """Per-document results of one task: `values[metric]` aligns with `doc_ids` (lm-eval's, rising)."""

    task: str
    doc_ids: tuple[int, ...]
    values: Mapping[str, Floats]


@dataclass(frozen=True)
class TaskScore:
    """One aggregated metric of one task over n documents; `stderr` is None where it has none."""

    task: str
    metric: str
    value: float
    stderr: float | None
    n: int
    headline: bool = False
    """Whether this is the metric that the objective asks for."""


@dataclass(frozen=True)
class Costs:
    """Where a candidate's time went, in seconds, and what was generated or read, in tokens."""

    merge_seconds: float = 0.0
    load_seconds: float = 0.0
    forward_seconds: float = 0.0
    overhead_seconds: float = 0.0
    tokens: int = 0

    @property
    def total_seconds(self) -> float:
        return self.merge_seconds + self.load_seconds + self.forward_seconds + self.overhead_seconds


@dataclass(frozen=True)
class EvaluationResult:
    """What a worker hands to the store for one candidate on one split.

    dropped: it lost its race, so scores and outcomes are those of the documents answered until then.
    """

    scores: tuple[TaskScore, ...]
    outcomes: tuple[TaskOutcomes, ...]
    costs: Costs = field(default_factory=Costs)
    dropped: bool = False


def mean_score(task: str, metric: str, values: Floats, headline: bool = False) -> TaskScore:
    """Mean and its standard error over documents."""
    n = len(values)
    stderr = float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else None
    return TaskScore(task, metric, float(values.mean()), stderr, n, headline)


def headlines_of(scores: Iterable[TaskScore]) -> dict[str, TaskScore]:
    """The score of each task that the objective asks for."""
    return {score.task: score for score in scores if score.headline}


def documents_behind(score: TaskScore, outcomes: TaskOutcomes | None) -> dict[int, float]:
    """The outcomes that a score is the mean of, by document; empty where it is not their mean."""
    if outcomes is None or score.metric not in outcomes.values:
        return {}
    pairs = zip(outcomes.doc_ids, outcomes.values[score.metric].tolist(), strict=True)
    found = {number: value for number, value in pairs if not math.isnan(value)}
    if len(found) != score.n:
        return {}
    mean = sum(found.values()) / len(found)
    return found if abs(mean - score.value) <= 1e-9 * max(1.0, abs(score.value)) else {}
