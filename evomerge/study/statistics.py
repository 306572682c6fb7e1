"""Statistics of models for a study's recipes: measured where they are missing, and what they cost.

Measuring is `evomerge.evaluation.calibrated`'s; what has been measured says itself how long that took, so
that a study which finds everything measured reports the same cost as the one that measured it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from evomerge.errors import ResourceError
from evomerge.hub import model_folders
from evomerge.methods import get_method
from evomerge.recipe import Recipe, Setting
from evomerge.study.bench import Where

if TYPE_CHECKING:
    from evomerge.evaluation.calibrated import Work


@dataclass(frozen=True)
class MeasuredStatistic:
    """One statistic of one model: what it was measured on, and what that took."""

    statistic: str
    model: str
    examples: int
    tokens: int
    seconds: float
    size: int


def measured_for(recipe: Recipe, where: Where) -> tuple[MeasuredStatistic, ...]:
    """What a recipe is computed from, measured now where it is missing; nothing for most methods."""
    return measured_for_all([recipe], where)


def measured_for_all(recipes: Iterable[Recipe], where: Where) -> tuple[MeasuredStatistic, ...]:
    """The same for recipes on the same texts: all statistics of all models at once."""
    asked = [one for one in recipes if one.calibration is not None and statistics_of(one)]
    if not asked:
        return ()
    from evomerge.calibration.recipes import kept_set_of
    from evomerge.evaluation.calibrated import Work

    names = tuple(sorted({name for one in asked for name in statistics_of(one)}))
    models = tuple(dict.fromkeys(source.model for one in asked for source in one.sources()))
    work = Work(models, model_folders(models), names, kept_set_of(asked[0]))
    measure(work, where)
    return costs_of(work)


def measure(work: "Work", where: Where) -> None:
    """Measure what is missing, in this process or one model a worker of the cluster."""
    from evomerge.calibration.store import StatisticStore

    store = StatisticStore()
    if all(store.has(one) for one in work.requests()):
        return
    if where.inline:
        from evomerge.evaluation.calibrated import calibrate

        calibrate(work)
        return
    from evomerge.calibration.collect import DEFAULTS
    from evomerge.dispatch.calibration import calibrate_on_ray
    from evomerge.dispatch.connection import connect

    connect(where.address, where.room)
    calibrate_on_ray(work, DEFAULTS, where.address, lambda text: None)
    if not all(store.has(one) for one in work.requests()):
        raise ResourceError(
            "what the cluster's workers measured is not to be seen here",
            where=str(store.root),
            remedy="set EVOMERGE_CALIBRATION, here and on all nodes, to a folder that they share",
        )


def costs_of(work: "Work") -> tuple[MeasuredStatistic, ...]:
    """What the statistics of some work took when they were measured."""
    from evomerge.calibration.store import StatisticStore

    store = StatisticStore()
    found = []
    for one in work.requests():
        header: Mapping[str, Any] = store.header(one)
        size = sum(file.stat().st_size for file in store.folder(one).glob("*"))
        counts = int(header["examples"]), int(header["tokens"]), float(header["seconds"])
        found.append(MeasuredStatistic(one.statistic, one.model, *counts, size))
    return tuple(found)


def statistics_of(recipe: Recipe) -> tuple[str, ...]:
    """The names of the statistics that a recipe needs of its models, sorted."""
    method = get_method(recipe.merge_method)
    if method.statistics is None:
        return ()
    values = {own.name: own.default for own in method.parameters if not own.per_model}
    values |= {name: _first(setting) for name, setting in recipe.parameters.items()}
    return tuple(sorted(method.statistics(values)))  # type: ignore[arg-type]


def _first(setting: Setting) -> Any:
    """Options are one value for the whole model."""
    return setting[0].value
