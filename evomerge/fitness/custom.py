"""Objectives of other packages: a Python function from the scores of all tasks to what is climbed.

A package registers a `CustomObjective` as an entry point in the group `evomerge.objectives`; a search
file names it (`objective: {custom: NAME, …}`). It has to be installed where the controller runs;
workers score tasks and know nothing of it.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points

from evomerge.errors import TaskError, did_you_mean

ENTRY_POINTS = "evomerge.objectives"


@dataclass(frozen=True)
class References:
    """Headline scores on the search split that objectives refer to: `{task: value}`.

    expert: of the best expert, task by task.
    """

    base: Mapping[str, float] = field(default_factory=dict)
    expert: Mapping[str, float] = field(default_factory=dict)


Compute = Callable[[Mapping[str, float], References], float | Mapping[str, float]]


@dataclass(frozen=True)
class CustomObjective:
    """What a search climbs, as a function of all tasks' scores.

    name: as search files and the entry point have it.
    compute: from `{task: headline score}`, as the metric gives it, and the references; bigger results
        are better. A pure function: the same scores give the same result in every process.
    values: the names of what it returns, where that is a mapping of several objectives; empty where
        it is one number.
    """

    name: str
    compute: Compute
    values: tuple[str, ...] = ()

    def __call__(self, scores: Mapping[str, float], references: References) -> dict[str, float]:
        """The objectives by name, in the order of `values`; TaskError where they are no numbers."""
        try:
            found = self.compute(scores, references)
        except Exception as error:  # whatever another package's function raises
            raise self._broken(f"raised {type(error).__name__}: {error}") from error
        named = found if isinstance(found, Mapping) else {self.name: found}
        wanted = self.values or (self.name,)
        if set(named) != set(wanted):
            raise self._broken(f"returned {', '.join(map(str, named))}, not {', '.join(wanted)}")
        try:
            numbers = {name: float(named[name]) for name in wanted}
        except (TypeError, ValueError) as error:
            raise self._broken(f"returned {found!r}, which is no number") from error
        if not all(map(math.isfinite, numbers.values())):
            raise self._broken(f"returned {found!r}, which cannot be ranked")
        return numbers

    def _broken(self, what: str) -> TaskError:
        return TaskError(
            f"the objective {self.name!r} {what}",
            where="objective.custom",
            remedy="mend the function that the entry point names",
        )


@cache
def load_objective(name: str) -> CustomObjective:
    """The objective that a package registers under `name`; TaskError where there is none."""
    points = {point.name: point for point in entry_points(group=ENTRY_POINTS)}
    if name not in points:
        known = did_you_mean(name, list(points)) if points else "install the package that has it"
        raise TaskError(
            f"no installed package registers an objective {name!r}",
            where="objective.custom",
            remedy=known,
        )
    found = _load(points[name])
    if not isinstance(found, CustomObjective) or found.name != name:
        raise TaskError(
            f"{points[name].value} is no evomerge.fitness.CustomObjective named {name!r}",
            where="objective.custom",
            remedy="let the entry point name a CustomObjective of the same name",
        )
    return found


def _load(point: EntryPoint) -> object:
    try:
        return point.load()
    except Exception as error:  # whatever another package's import raises
        raise TaskError(
            f"objective {point.name!r} cannot be loaded from {point.value} ({error})",
            where="objective.custom",
            remedy="mend or uninstall the package that registers it",
        ) from error
