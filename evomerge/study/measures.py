"""What a study measures of a merge, from scores of tasks: held-in, combinations, held-out.

  held-in       score over the expert's that was trained for the task, the best of several; tasks of the
                experts that were merged
  combinations  the plain score on skills and factors that experts know, and none knows together
  held-out      score over the base's, on what no expert was trained for

Means are taken within a skill first, then over skills, then over trainings, subsets and seeds (Yadav et
al. 2024). Where more is worse (perplexity), ratios are turned over. A ratio to 0 is none, and its task is
named.

Draws are of resampled documents, the same ones for all models and all trainings. Where there are several
trainings, subsets or seeds, each of these factors is resampled too, independently of the others (Owen
2007, The pigeonhole bootstrap): they are crossed, as the same subsets are merged in every training.
Shapes: B resamples, S merges.
"""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from evomerge.bootstrap import SEED, Estimate, Floats, percentile_interval, resample_counts
from evomerge.comparison import Comparison
from evomerge.fitness import References
from evomerge.study.plan import Places
from evomerge.study.roles import Role, held_in, is_own, of_role
from evomerge.study.run import BaseResult, CellResult, Scored
from evomerge.study.spec import StudyExpert, StudyTask

MEASURES = (Role.HELD_IN, Role.COMBINATION, Role.HELD_OUT)
Unit = tuple[Hashable, ...]
"""What a value is of: one member of each factor, such as a training, a subset and a seed."""


@dataclass(frozen=True)
class Value:
    """A number, its draws (B,) where they are known, and the tasks that have no ratio."""

    value: float
    draws: Floats | None
    undefined: tuple[str, ...] = ()


class Measured:
    """The measures of every model of a base."""

    def __init__(self, result: BaseResult) -> None:
        self._base, self._experts = result.base, result.base.experts
        self._directions = {one.task: one.direction or "max" for one in result.objective.tasks}
        multitask = [result.multitask] if result.multitask else []
        rows = [result.own, *result.experts, *multitask, *(cell.scored for cell in result.cells)]
        self._rows = [row for row in rows if row.evaluation is not None]
        self._places = {id(row): place for place, row in enumerate(self._rows)}
        self._result = result
        self._known: dict[tuple[int, Places, Role], Value | None] = {}
        self._comparison = Comparison(
            result.objective,
            References(),
            [row.evaluation for row in self._rows if row.evaluation is not None],
            [row.outcomes for row in self._rows],
        )

    def scores(self, row: Scored) -> Mapping[str, Estimate]:
        """Each task's score."""
        return self._scores[self._places[id(row)]]

    @cached_property
    def _scores(self) -> list[dict[str, Estimate]]:
        return [self._comparison.scores(place) for place in range(len(self._rows))]

    def of_cell(self, cell: CellResult, role: Role) -> Value | None:
        """One measure of a cell, worked out once; None where it failed, or has no such tasks."""
        key = id(cell.scored), cell.cell.places, role
        if key not in self._known:
            experts = [self._experts[place] for place in cell.cell.places]
            self._known[key] = self.of(cell.scored, role, experts)
        return self._known[key]

    def of(self, row: Scored, role: Role, experts: Sequence[StudyExpert]) -> Value | None:
        """One measure of a model. experts: whose tasks are held-in, and whom it is related to."""
        if row.evaluation is None:
            return None
        tasks = self._asked(role, experts)
        if not tasks:
            return None
        found = {task: self._relative(row, task, role, experts) for task in tasks}
        lost = tuple(task.task for task, value in found.items() if value is None)
        kept = {task: value for task, value in found.items() if value is not None}
        if not kept:
            return Value(float("nan"), None, lost)
        mean = by_skill(kept)
        return Value(mean.value, mean.draws, lost)

    def _asked(self, role: Role, experts: Sequence[StudyExpert]) -> list[StudyTask]:
        if role is Role.HELD_IN:
            return held_in(self._result.tasks, experts)
        return of_role(self._result.tasks, self._experts, role)

    def _relative(
        self, row: Scored, task: StudyTask, role: Role, experts: Sequence[StudyExpert]
    ) -> Value | None:
        own = self._value(row, task.task)
        if role is Role.COMBINATION:
            return own
        turned = self._directions[task.task] == "min"
        if role is Role.HELD_OUT:
            return ratio(own, self._value(self._result.own, task.task), turned=turned)
        teachers = [self._expert_row(e) for e in experts if is_own(task, e)]
        values = [self._value(teacher, task.task) for teacher in teachers]
        best = (min if turned else max)(values, key=lambda value: value.value)
        return ratio(own, best, turned=turned)

    def _expert_row(self, expert: StudyExpert) -> Scored:
        return self._result.experts[self._experts.index(expert)]

    def _value(self, row: Scored, task: str) -> Value:
        place = self._places[id(row)]
        draws = self._draws[place]
        return Value(self.scores(row)[task].value, None if draws is None else draws[task])

    @cached_property
    def _draws(self) -> list[dict[str, Floats] | None]:
        return [self._comparison.score_draws(place) for place in range(len(self._rows))]


def ratio(own: Value, reference: Value, *, turned: bool = False) -> Value | None:
    """One score over another, or the other way round where more is worse; None where that divides by 0.

    Draws are taken to first order (Cochran 1977, section 6.4): a reference near 0, of few documents, would
    otherwise be 0 in some of them.
    """
    above, below = (reference, own) if turned else (own, reference)
    if below.value == 0:
        return None
    found = above.value / below.value
    if above.draws is None or below.draws is None:
        return Value(found, None)
    return Value(found, found + (above.draws - found * below.draws) / below.value)


def by_skill(values: Mapping[StudyTask, Value]) -> Value:
    """The mean over tasks of a skill, then over skills."""
    skills = dict.fromkeys(task.skill for task in values)
    return mean(
        [mean([value for task, value in values.items() if task.skill == one]) for one in skills]
    )


def mean(values: Sequence[Value]) -> Value:
    """The plain mean; its draws are those of the parts, taken together."""
    draws = [value.draws for value in values]
    known = [one for one in draws if one is not None]
    together = np.mean(known, axis=0) if len(known) == len(draws) else None
    return Value(float(np.mean([value.value for value in values])), together)


def pooled(values: Sequence[Value], units: Sequence[Unit] | None = None) -> Estimate:
    """The mean over merges, with an interval that speaks of other trainings, subsets and seeds too.

    Two parts, which are independent: the resampled documents of the mean, and the merges' deviations from
    it, each times how often its training, its subset and its seed were drawn. Resampling n of n gives
    the variance of these n, not of all there might be: deviations are stretched by sqrt(n / (n − 1)).

    Args:
        units: of which training, subset and seed each value is; without, each one stands for itself.
    """
    whole = mean(values)
    if whole.draws is None:
        return Estimate(whole.value)
    names = [(place,) for place in range(len(values))] if units is None else units
    deviations_S = np.array([value.value for value in values]) - whole.value
    weights_SB = _weights(names, len(whole.draws))
    among_B = (deviations_S[:, None] * weights_SB).mean(axis=0)
    return percentile_interval(whole.value, whole.draws + among_B)


def _weights(units: Sequence[Unit], size: int) -> Floats:
    """How much of each unit's deviation is in a draw, (S, B): over all factors that have several members."""
    weights_SB = np.ones((len(units), size))
    for number, factor in enumerate(zip(*units, strict=True)):
        members = list(dict.fromkeys(factor))
        count = len(members)
        if count > 1:
            generator = np.random.default_rng([SEED, 0x57D1, number])
            drawn_BM = resample_counts(generator, size, count)
            own_SB = drawn_BM.T[[members.index(one) for one in factor]]
            weights_SB *= 1 + (own_SB - 1) * np.sqrt(count / (count - 1))
    return weights_SB


def difference(one: Value, other: Value) -> Value:
    """What one is above another, on the same documents."""
    draws = None if one.draws is None or other.draws is None else one.draws - other.draws
    return Value(one.value - other.value, draws)
