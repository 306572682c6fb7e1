"""From the scores of the tasks to a candidate's objectives and its fitness, with standard errors."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from evomerge.errors import TaskError
from evomerge.fitness.custom import CustomObjective, References, load_objective
from evomerge.fitness.objective import AT_LEAST, Objective, TaskObjective
from evomerge.fitness.outcomes import Floats, TaskScore, headlines_of


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
class ObjectiveValue:
    """One of a candidate's objectives, bigger is better; `stderr` is None where it is not known."""

    name: str
    value: float
    stderr: float | None


def compute_objectives(
    objective: Objective, scores: Sequence[TaskScore], references: References | None = None
) -> tuple[ObjectiveValue, ...]:
    """What a candidate is judged by: one value, or several with `pareto` and some custom objectives.

    Errors of tasks are taken as independent. A normalisation whose reference is 0 raises TaskError,
    as the ratio means nothing; so does a custom objective that fails.
    """
    refs = references or References()
    if objective.custom:
        return _custom_objectives(load_objective(objective.custom), objective, scores, refs)
    terms = _terms(objective, scores, refs)
    if objective.goal == "pareto":
        return terms
    (name,) = objective.objective_names
    if objective.goal == "worst":
        return (ObjectiveValue(name, min(term.value for term in terms), _worst_stderr(terms)),)
    return (_weighted_mean(name, objective, terms),)


def compute_fitness(
    objective: Objective, scores: Sequence[TaskScore], references: References | None = None
) -> Fitness:
    """The one number to rank by, and how far constraints are missed.

    Where there are several objectives it only stands in for them: with `pareto` the weighted mean of
    the tasks, with a custom objective of several values their mean. Raises as `compute_objectives`.
    """
    refs = references or References()
    found = compute_objectives(objective, scores, refs)
    if objective.goal == "pareto":
        found = (_weighted_mean("", objective, found),)
    headlines = headlines_of(scores)
    violation = sum(
        (_violation(task, headlines[task.task].value, refs) for task in objective.tasks), start=0.0
    )
    return Fitness(*_mean(found), violation)


def objectives_of_draws(
    objective: Objective, draws: Mapping[str, Floats], references: References
) -> Floats:
    """The M objectives for many draws of the tasks' scores at once: `{task: (B,)}` gives (M, B).

    Raises as `compute_objectives`; a custom objective is called B times.
    """
    if objective.custom:
        return _custom_draws(load_objective(objective.custom), objective, draws, references)
    terms_TB = np.array([_scale(t, references) * draws[t.task] for t in objective.tasks])
    if objective.goal == "pareto":
        return terms_TB
    if objective.goal == "worst":
        worst: Floats = terms_TB.min(axis=0, keepdims=True)
        return worst
    return _weighted(objective, terms_TB)


def fitness_of_draws(
    objective: Objective, draws: Mapping[str, Floats], references: References
) -> Floats:
    """Fitness for many draws of the tasks' scores at once: `{task: (B,)}` gives (B,)."""
    found_MB = objectives_of_draws(objective, draws, references)
    if objective.goal == "pareto":
        found_MB = _weighted(objective, found_MB)
    mean: Floats = found_MB.mean(axis=0)
    return mean


def _weighted(objective: Objective, terms_TB: Floats) -> Floats:
    weights_T = np.array([task.weight for task in objective.tasks])
    mean: Floats = weights_T[None] @ terms_TB / weights_T.sum()
    return mean


def _terms(
    objective: Objective, scores: Sequence[TaskScore], refs: References
) -> tuple[ObjectiveValue, ...]:
    """Each task's score, turned so that bigger is better, and normalised."""
    headlines = headlines_of(scores)
    found = []
    for task in objective.tasks:
        score, scale = headlines[task.task], _scale(task, refs)
        stderr = None if score.stderr is None else abs(scale) * score.stderr
        found.append(ObjectiveValue(task.task, scale * score.value, stderr))
    return tuple(found)


def _scale(task: TaskObjective, refs: References) -> float:
    return _sign(task) / _reference(task, refs)


def _weighted_mean(
    name: str, objective: Objective, terms: Sequence[ObjectiveValue]
) -> ObjectiveValue:
    total = sum(task.weight for task in objective.tasks)
    value, variance = 0.0, 0.0
    for task, term in zip(objective.tasks, terms, strict=True):
        value += task.weight / total * term.value
        variance += (task.weight / total * (term.stderr or 0.0)) ** 2
    return ObjectiveValue(name, value, math.sqrt(variance) if variance else None)


def _mean(values: Sequence[ObjectiveValue]) -> tuple[float, float | None]:
    """Mean of objectives that stand on the same documents: their errors may be one and the same."""
    stderr = sum(one.stderr or 0.0 for one in values) / len(values)
    return sum(one.value for one in values) / len(values), stderr or None


def _worst_stderr(terms: Sequence[ObjectiveValue]) -> float | None:
    """By draws around each task: where two are about equally bad, either may be the worst."""
    values_T = np.array([term.value for term in terms])
    errors_T = np.array([term.stderr or 0.0 for term in terms])
    if not errors_T.any():
        return None
    return float((values_T + errors_T * _standard_draws(len(terms))).min(axis=1).std())


_DRAWS, _SEED = 1024, 20_250_102


@cache
def _standard_draws(count: int) -> Floats:
    return np.random.default_rng([_SEED, count]).standard_normal((_DRAWS, count))


def _custom_objectives(
    custom: CustomObjective, objective: Objective, scores: Sequence[TaskScore], refs: References
) -> tuple[ObjectiveValue, ...]:
    headlines = headlines_of(scores)
    asked = {task.task: headlines[task.task] for task in objective.tasks}
    plain = {task: score.value for task, score in asked.items()}
    found = custom(plain, refs)
    errors = _propagated(lambda moved: custom(moved, refs), plain, asked.values())
    return tuple(ObjectiveValue(n, value, errors.get(n)) for n, value in found.items())


_STEP = 1e-3
"""Of a standard error: small, so that no score leaves the range in which a function knows it."""


def _propagated(
    function: Callable[[Mapping[str, float]], Mapping[str, float]],
    plain: Mapping[str, float],
    scores: Iterable[TaskScore],
) -> dict[str, float]:
    """Standard errors of what a function makes of scores, by its slopes (the delta method)."""
    variances: dict[str, float] = {}
    for score in scores:
        step = _STEP * (score.stderr or 0.0)
        if step:
            up = function({**plain, score.task: score.value + step})
            down = function({**plain, score.task: score.value - step})
            for name in up:
                change = (up[name] - down[name]) / (2 * _STEP)
                variances[name] = variances.get(name, 0.0) + change**2
    return {name: math.sqrt(variance) for name, variance in variances.items()}


def _custom_draws(
    custom: CustomObjective, objective: Objective, draws: Mapping[str, Floats], refs: References
) -> Floats:
    names = [task.task for task in objective.tasks]
    rows = zip(*(draws[name].tolist() for name in names), strict=True)
    found = [custom(dict(zip(names, row, strict=True)), refs) for row in rows]
    return np.array([list(values.values()) for values in found]).T


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
    tasks = objective.tasks
    refers = any(t.normalise != "none" or isinstance(t.at_least, str) for t in tasks)
    return refers or objective.custom is not None


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
    found = AT_LEAST.match(at_least.strip()) if isinstance(at_least, str) else None
    if found is None:
        return float(at_least)
    who, sign, offset = found.groups()
    shift = float(offset or 0.0) * (-1 if sign == "-" else 1)
    return float(getattr(refs, who)[task]) + shift
