"""From per-document outcomes to one number: objectives, task scores, fitness.

Bigger fitness is better everywhere in evomerge; metrics whose direction is `min` are negated here,
and strategies, which minimise, negate once more at their own border.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, model_validator

from evomerge.errors import TaskError
from evomerge.recipe import Frozen

Floats = NDArray[np.float64]


class Split(StrEnum):
    """Which documents of a task: the search sees `search` alone."""

    SEARCH = "search"
    VALIDATION = "validation"
    TEST = "test"


class Splits(Frozen):
    """Shares of each task's documents; a document's hash decides where it goes."""

    search: float = Field(0.6, gt=0, le=1)
    validation: float = Field(0.2, ge=0, le=1)
    test: float = Field(0.2, ge=0, le=1)

    @model_validator(mode="after")
    def _sum_to_one(self) -> "Splits":
        total = self.search + self.validation + self.test
        if abs(total - 1) > 1e-6:
            raise ValueError(f"the shares add up to {total:g}, not 1")
        return self

    def split_of(self, position: float) -> Split:
        """The split of a document whose hash lies at `position` in [0, 1)."""
        if position < self.search:
            return Split.SEARCH
        # The shares add up to 1 but for rounding: what is left over never goes to a share of 0.
        if self.validation and (position < self.search + self.validation or not self.test):
            return Split.VALIDATION
        return Split.TEST if self.test else Split.SEARCH


_AT_LEAST = re.compile(r"^(base|expert)\s*(?:([+-])\s*(\d*\.?\d+))?$")


def _valid_at_least(value: float | str | None) -> float | str | None:
    if isinstance(value, str) and not _AT_LEAST.match(value.strip()):
        raise ValueError("write a number, or `base`, `expert`, `base - 0.01`")
    return value


class TaskObjective(Frozen):
    """What one lm-eval task contributes.

    metric: a metric of the task (`acc`, `exact_match`, …), or for multiple choice `gold_prob` (the
        probability of the right choice among the choices) and `margin` (its log-likelihood minus
        the best wrong one's). None: the task's first metric.
    normalise: divide by the base's or the best expert's score on the search split.
    at_least: constraint on the unnormalised score; candidates below it rank behind all others.
    """

    task: str
    metric: str | None = None
    weight: float = Field(1.0, gt=0)
    direction: Literal["max", "min"] | None = None
    normalise: Literal["none", "base", "expert"] = "none"
    at_least: Annotated[float | str | None, AfterValidator(_valid_at_least)] = None


class Objective(Frozen):
    """The tasks a search is for, and how their documents are divided.

    include_path: a folder of lm-eval task files; lm-eval's own tasks need none.
    num_fewshot: overrides each task's own number. limit: at most so many documents a task and split.
    """

    tasks: tuple[TaskObjective, ...] = Field(min_length=1)
    include_path: Path | None = None
    splits: Splits = Splits()
    num_fewshot: int | None = Field(None, ge=0)
    fewshot_seed: int = 1234
    limit: int | None = Field(None, gt=0)
    apply_chat_template: bool = False
    system_instruction: str | None = None
    accept_benchmark_tests: bool = False

    @model_validator(mode="after")
    def _no_task_twice(self) -> "Objective":
        names = [task.task for task in self.tasks]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"task named twice: {', '.join(twice)}")
        return self


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


@dataclass(frozen=True)
class Fitness:
    """A candidate's value under an objective; `violation` is 0 where all constraints hold."""

    value: float
    stderr: float | None
    violation: float = 0.0

    @property
    def feasible(self) -> bool:
        return self.violation == 0.0

    @property
    def sort_key(self) -> tuple[float, float]:
        """Bigger is better: feasible before infeasible, smaller violations first."""
        return (-self.violation, self.value)


@dataclass(frozen=True)
class References:
    """Scores on the search split that objectives refer to: `{task: value}`."""

    base: Mapping[str, float] = field(default_factory=dict)
    expert: Mapping[str, float] = field(default_factory=dict)


def compute_fitness(
    objective: Objective, scores: Sequence[TaskScore], references: References | None = None
) -> Fitness:
    """Weighted mean of the headline scores, and how far constraints are missed.

    Errors of tasks are taken as independent. A normalisation whose reference is 0 raises
    TaskError, as the ratio means nothing.
    """
    refs = references or References()
    by_task = {score.task: score for score in scores if score.headline}
    total = sum(task.weight for task in objective.tasks)
    value, variance, violation = 0.0, 0.0, 0.0
    for task in objective.tasks:
        score = by_task[task.task]
        factor = task.weight / total * _sign(task) / _reference(task, refs)
        value += factor * score.value
        variance += (factor * (score.stderr or 0.0)) ** 2
        violation += _violation(task, score.value, refs)
    return Fitness(value, math.sqrt(variance) if variance else None, violation)


def make_references(
    objective: Objective, base: Mapping[str, float], experts: Sequence[Mapping[str, float]]
) -> References:
    """References from the headline scores `{task: value}` of the base and of each expert."""
    best = {
        task.task: (min if task.direction == "min" else max)(e[task.task] for e in experts)
        for task in objective.tasks
    }
    return References(base, best)


def needs_references(objective: Objective) -> bool:
    """Whether fitness depends on the base's or the experts' scores."""
    return any(t.normalise != "none" or isinstance(t.at_least, str) for t in objective.tasks)


def _sign(task: TaskObjective) -> float:
    return -1.0 if task.direction == "min" else 1.0


def _reference(task: TaskObjective, refs: References) -> float:
    if task.normalise == "none":
        return 1.0
    reference = getattr(refs, task.normalise)[task.task]
    if reference == 0:
        raise TaskError(
            f"the {task.normalise} scores 0 on {task.task}, so nothing can be divided by it",
            where=f"objective: {task.task}",
            remedy="write `normalise: none` for this task, or choose another metric",
        )
    return float(abs(reference))


def _violation(task: TaskObjective, value: float, refs: References) -> float:
    if task.at_least is None:
        return 0.0
    return max(0.0, _sign(task) * (_threshold(task.at_least, task.task, refs) - value))


def _threshold(at_least: float | str, task: str, refs: References) -> float:
    found = _AT_LEAST.match(at_least.strip()) if isinstance(at_least, str) else None
    if found is None:
        return float(at_least)
    who, sign, offset = found.groups()
    shift = float(offset or 0.0) * (-1 if sign == "-" else 1)
    return float(getattr(refs, who)[task]) + shift


def mean_score(task: str, metric: str, values: Floats, headline: bool = False) -> TaskScore:
    """Mean and its standard error over documents."""
    n = len(values)
    stderr = float(values.std(ddof=1) / math.sqrt(n)) if n > 1 else None
    return TaskScore(task, metric, float(values.mean()), stderr, n, headline)
