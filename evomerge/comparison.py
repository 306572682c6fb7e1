"""Rows of a results table side by side: scores, fitness and leads with their intervals.

Fitness is linear in the tasks' scores, so a draw of the scores is a draw of the fitness. Per-document
outcomes are resampled where a score is their mean; where it is not (perplexity, F1), draws come from
its standard error and are independent between rows; where it has none, no interval is given.
"""

import math
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from evomerge.bootstrap import (
    Estimate,
    Floats,
    is_binary,
    normal_draws,
    percentile_interval,
    resampled_means,
    wilson_interval,
)
from evomerge.errors import EvomergeError
from evomerge.fitness import Objective, References, TaskOutcomes, TaskScore, compute_fitness
from evomerge.store.types import EvaluationRecord


class Comparison:
    """Evaluations on one split. Row 0 is the one that others are paired with.

    Args:
        objective, references: what fitness means in this search.
        evaluations: scored ones, one a row.
        outcomes: each row's per-document outcomes; empty where they are not kept.
    """

    def __init__(
        self,
        objective: Objective,
        references: References,
        evaluations: Sequence[EvaluationRecord],
        outcomes: Sequence[Sequence[TaskOutcomes]],
    ) -> None:
        self._objective = objective
        self._evaluations = evaluations
        self._outcomes = [{one.task: one for one in row} for row in outcomes]
        self._heads = [{s.task: s for s in e.scores if s.headline} for e in evaluations]
        self._tasks = [task.task for task in objective.tasks]
        self._factors, self.notes = _factors(objective, references)
        self._tables = {
            task: _Table(self._task_rows(task), place) for place, task in enumerate(self._tasks)
        }

    @property
    def metrics(self) -> dict[str, str]:
        """The metric of each task."""
        return {task: head[task].metric for head in self._heads[:1] for task in self._tasks}

    @property
    def documents(self) -> dict[str, int]:
        """The number of documents of each task."""
        return {task: head[task].n for head in self._heads[:1] for task in self._tasks}

    def violation(self, row: int) -> float:
        return self._evaluations[row].violation or 0.0

    def scores(self, row: int) -> dict[str, Estimate]:
        """Each task's score."""
        return {task: table.estimate(row) for task, table in self._tables.items()}

    def fitness(self, row: int) -> Estimate:
        """The weighted whole."""
        stored = self._evaluations[row].fitness
        value = self._value(row) if stored is None else stored
        return percentile_interval(value, self._fitness_draws[row])

    def lead(self, ahead: int, behind: int) -> tuple[Estimate, bool]:
        """Fitness of one row minus another's, and whether it is paired in every task."""
        value = self.fitness(ahead).value - self.fitness(behind).value
        paired = all(t.is_paired(ahead) and t.is_paired(behind) for t in self._tables.values())
        one, other = self._fitness_draws[ahead], self._fitness_draws[behind]
        draws = None if one is None or other is None else one - other
        return percentile_interval(value, draws), paired

    @cached_property
    def _fitness_draws(self) -> list[Floats | None]:
        return [self._weighted_draws(row) for row in range(len(self._evaluations))]

    def _weighted_draws(self, row: int) -> Floats | None:
        parts = [(self._factors[task], self._tables[task].draws(row)) for task in self._tasks]
        known = [factor * draws for factor, draws in parts if draws is not None]
        return np.sum(known, axis=0) if len(known) == len(parts) else None

    def _value(self, row: int) -> float:
        return sum(self._factors[task] * self._heads[row][task].value for task in self._tasks)

    def _task_rows(self, task: str) -> list[tuple[TaskScore, TaskOutcomes | None]]:
        pairs = zip(self._heads, self._outcomes, strict=True)
        return [(head[task], outcomes.get(task)) for head, outcomes in pairs]


def _factors(
    objective: Objective, references: References
) -> tuple[Mapping[str, float], tuple[str, ...]]:
    """What one point of each task's score is worth in fitness, asked of `compute_fitness` itself."""
    try:
        return _slopes(objective, references), ()
    except (EvomergeError, ValueError, KeyError):
        tasks = tuple(
            task.model_copy(update={"normalise": "none", "at_least": None})
            for task in objective.tasks
        )
        plain = objective.model_copy(update={"tasks": tasks})
        return _slopes(plain, References()), (
            "The scores that the objective refers to are not there yet: fitness is not normalised.",
        )


def _slopes(objective: Objective, references: References) -> dict[str, float]:
    names = [task.task for task in objective.tasks]

    def fitness_with(one: str | None) -> float:
        scores = [TaskScore(n, "", float(n == one), None, 1, headline=True) for n in names]
        return compute_fitness(objective, scores, references).value

    return {name: fitness_with(name) - fitness_with(None) for name in names}


class _Table:
    """One task: each row's score, and its documents where they can be resampled."""

    def __init__(self, rows: Sequence[tuple[TaskScore, TaskOutcomes | None]], place: int) -> None:
        self._place = place  # of the task: each one is resampled by draws of its own
        self._scores = [score for score, _ in rows]
        self._values = [_documents(score, outcomes) for score, outcomes in rows]
        self._shared = _shared_documents(self._values)

    def is_paired(self, row: int) -> bool:
        return row in self._places

    def estimate(self, row: int) -> Estimate:
        score, values = self._scores[row], self._values[row]
        if values and is_binary(numbers := np.array(list(values.values()))):
            return wilson_interval(numbers)
        return percentile_interval(score.value, self.draws(row))

    def draws(self, row: int) -> Floats | None:
        score = self._scores[row]
        if row in self._places:
            return score.value + self._deviations[:, self._places[row]]
        return (
            None
            if score.stderr is None
            else normal_draws(score.value, score.stderr, (self._place, row))
        )

    @cached_property
    def _places(self) -> dict[int, int]:
        """Column in `_deviations` of each row that has all the shared documents."""
        have = [r for r, values in enumerate(self._values) if values and self._shared]
        return {row: place for place, row in enumerate(have)}

    @cached_property
    def _deviations(self) -> Floats:
        rows = [self._values[row] for row in self._places]
        values_RN = np.array([[row[d] for d in self._shared] for row in rows])
        deviations: Floats = resampled_means(values_RN, seed=self._place) - values_RN.mean(axis=1)
        return deviations


Documents = dict[int, float]
_MIN_SHARED = 2


def _documents(score: TaskScore, outcomes: TaskOutcomes | None) -> Documents:
    """Outcomes by document; empty where the score is not their mean."""
    if outcomes is None or score.metric not in outcomes.values:
        return {}
    pairs = zip(outcomes.doc_ids, outcomes.values[score.metric].tolist(), strict=True)
    found = {number: value for number, value in pairs if not math.isnan(value)}
    if len(found) != score.n:
        return {}
    mean = sum(found.values()) / len(found)
    return found if abs(mean - score.value) <= 1e-9 * max(1.0, abs(score.value)) else {}


def _shared_documents(rows: Sequence[Documents]) -> list[int]:
    """The documents that every row with outcomes has answered."""
    present = [set(row) for row in rows if row]
    shared = sorted(set.intersection(*present)) if present else []
    return shared if len(shared) >= _MIN_SHARED else []
