"""Rows of a results table side by side: scores, fitness and leads with their intervals.

A draw of the tasks' scores gives a draw of the fitness, whatever the objective makes of them.
Per-document outcomes are resampled where a score is their mean; where it is not (perplexity, F1),
draws come from its standard error and are independent between rows; where it has none, no interval
is given.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from evomerge.bootstrap import (
    Estimate,
    Floats,
    basic_interval,
    is_binary,
    normal_draws,
    percentile_interval,
    resampled_means,
    wilson_interval,
)
from evomerge.errors import EvomergeError, TaskError
from evomerge.fitness import (
    Objective,
    ObjectiveValue,
    References,
    TaskOutcomes,
    TaskScore,
    compute_fitness,
    compute_objectives,
    documents_behind,
    fitness_of_draws,
)
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
        self._evaluations = evaluations
        self._references = references
        self._outcomes = [{one.task: one for one in row} for row in outcomes]
        self._heads = [e.headlines for e in evaluations]
        self._tasks = [task.task for task in objective.tasks]
        self._objective, self.notes = _computable(objective, references, evaluations)
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

    def objectives(self, row: int) -> tuple[ObjectiveValue, ...]:
        """What the row is judged by."""
        scores = self._evaluations[row].scores
        return compute_objectives(self._objective, scores, self._references)

    def fitness(self, row: int) -> Estimate:
        """The one number to rank by."""
        stored = self._evaluations[row].fitness
        value = self._value(row) if stored is None else stored
        return self._interval(value, self._fitness_draws[row])

    def fitness_stderr(self, row: int) -> float | None:
        """Standard deviation of the fitness over resampled documents; None where it is not known."""
        draws = self._fitness_draws[row]
        return None if draws is None else float(draws.std())

    def score_draws(self, row: int) -> dict[str, Floats] | None:
        """Draws of every task's score, (B,) each; None where one is not known."""
        draws = {task: table.draws(row) for task, table in self._tables.items()}
        known = {task: found for task, found in draws.items() if found is not None}
        return known if len(known) == len(draws) else None

    def lead(self, ahead: int, behind: int) -> tuple[Estimate, bool]:
        """Fitness of one row minus another's, and whether it is paired in every task."""
        value = self.fitness(ahead).value - self.fitness(behind).value
        paired = all(t.is_paired(ahead) and t.is_paired(behind) for t in self._tables.values())
        one, other = self._fitness_draws[ahead], self._fitness_draws[behind]
        draws = None if one is None or other is None else one - other
        return self._interval(value, draws), paired

    def score_leads(self, ahead: int, behind: int) -> dict[str, tuple[Estimate, bool]]:
        """Each task's score of one row minus another's, and whether they answer the same documents."""
        return {task: table.lead(ahead, behind) for task, table in self._tables.items()}

    def _interval(self, value: float, draws: Floats | None) -> Estimate:
        bends = self._objective.goal == "worst" or self._objective.custom is not None
        return (basic_interval if bends else percentile_interval)(value, draws)

    @cached_property
    def _fitness_draws(self) -> list[Floats | None]:
        return [self._draws_of(row) for row in range(len(self._evaluations))]

    def _draws_of(self, row: int) -> Floats | None:
        draws = self.score_draws(row)
        if draws is None:
            return None
        try:
            return fitness_of_draws(self._objective, draws, self._references)
        except TaskError:  # a custom objective that knows nothing of scores so far out
            return None

    def _value(self, row: int) -> float:
        scores = self._evaluations[row].scores
        return compute_fitness(self._objective, scores, self._references).value

    def _task_rows(self, task: str) -> list[tuple[TaskScore, TaskOutcomes | None]]:
        pairs = zip(self._heads, self._outcomes, strict=True)
        return [(head[task], outcomes.get(task)) for head, outcomes in pairs]


def _computable(
    objective: Objective, references: References, evaluations: Sequence[EvaluationRecord]
) -> tuple[Objective, tuple[str, ...]]:
    """The objective, or its plain form where it refers to scores that are not there yet."""
    try:
        for evaluation in evaluations[:1]:
            compute_fitness(objective, evaluation.scores, references)
    except (EvomergeError, KeyError):
        tasks = tuple(
            task.model_copy(update={"normalise": "none", "at_least": None})
            for task in objective.tasks
        )
        plain = objective.model_copy(update={"tasks": tasks, "custom": None})
        what = "the plain mean" if objective.custom else "not normalised"
        return plain, (
            f"The scores that the objective refers to are not there yet: fitness is {what}.",
        )
    return objective, ()


class _Table:
    """One task: each row's score, and its documents where they can be resampled."""

    def __init__(self, rows: Sequence[tuple[TaskScore, TaskOutcomes | None]], place: int) -> None:
        self._place = place  # of the task: each one is resampled by draws of its own
        self._scores = [score for score, _ in rows]
        self._values = [documents_behind(score, outcomes) for score, outcomes in rows]
        self._shared = _shared_documents(self._values)

    def is_paired(self, row: int) -> bool:
        return row in self._places

    def estimate(self, row: int) -> Estimate:
        score, values = self._scores[row], self._values[row]
        if values and is_binary(numbers := np.array(list(values.values()))):
            return wilson_interval(numbers)
        return percentile_interval(score.value, self.draws(row))

    def lead(self, ahead: int, behind: int) -> tuple[Estimate, bool]:
        value = self._scores[ahead].value - self._scores[behind].value
        one, other = self.draws(ahead), self.draws(behind)
        draws = None if one is None or other is None else one - other
        paired = self.is_paired(ahead) and self.is_paired(behind)
        return percentile_interval(value, draws), paired

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


_MIN_SHARED = 2


def _shared_documents(rows: Sequence[Mapping[int, float]]) -> list[int]:
    """The documents that every row with outcomes has answered."""
    present = [set(row) for row in rows if row]
    shared = sorted(set.intersection(*present)) if present else []
    return shared if len(shared) >= _MIN_SHARED else []
