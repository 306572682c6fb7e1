"""What each method of a study cost, and what it needs to be used at all."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evomerge.calibration.statistic import get_statistic
from evomerge.hub import model_folders
from evomerge.merging.indexes import read_model
from evomerge.methods import Method
from evomerge.study.flops import Shapes, flops_of, shapes_of
from evomerge.study.run import BaseResult, CellResult
from evomerge.study.spec import StudyMethod

_GRADIENTS = {"fisher", "empirical_fisher", "sensitivity", "output_gradient_grams"}


@dataclass(frozen=True)
class Cost:
    """A method on subsets of one size, the mean of its cells.

    flops: of statistics, of one merge, of choosing (search and learning); seconds likewise, measured on
    whatever machine did it. candidates: merges that were tried. peak: bytes that scoring the merge took
    beyond what the process had.
    """

    base: str
    label: str
    size: int
    statistics_flops: float
    merge_flops: float | None
    choice_flops: float
    statistics_seconds: float
    merge_seconds: float
    choice_seconds: float
    candidates: float
    statistics_bytes: float
    peak_bytes: float | None

    @property
    def flops(self) -> float | None:
        """All of it."""
        if self.merge_flops is None:
            return None
        return self.statistics_flops + self.merge_flops + self.choice_flops


@dataclass(frozen=True)
class Prerequisites:
    """What a method needs beside the experts, from its declaration and its policy."""

    label: str
    base: str
    models: str
    statistics: tuple[str, ...]
    gradients: bool
    texts: bool
    scored_documents: bool
    initialisation: str


def base_shapes(base: BaseResult) -> Shapes:
    """Of the base model."""
    name = base.base.model
    return shapes_of(read_model(name, model_folders([name])))


def costs_of_bases(trainings: Sequence[BaseResult], shapes: Shapes) -> Iterator[Cost]:
    """Of all trainings of one base: by size, then in the order of the cells."""
    everything = [cell for base in trainings for cell in base.cells]
    for size in sorted({cell.cell.size for cell in everything}):
        cells = [c for c in everything if c.cell.size == size and c.scored.evaluation and c.choice]
        for label in dict.fromkeys(cell.cell.entry.label for cell in cells):
            yield _cost([cell for cell in cells if cell.cell.entry.label == label], shapes)


def _cost(cells: Sequence[CellResult], shapes: Shapes) -> Cost:
    choices = [cell.choice for cell in cells if cell.choice is not None]
    flops = [flops_of(choice, shapes) for choice in choices]
    merges = [one.merge for one in flops if one.merge is not None]
    measured = [[*choice.spent.statistics] for choice in choices]
    merged = [e.costs.merge_seconds for cell in cells if (e := cell.scored.evaluation) and e.costs]
    peaks = [cell.peak_bytes for cell in cells if cell.peak_bytes is not None]
    return Cost(
        cells[0].cell.base.label,
        cells[0].cell.entry.label,
        cells[0].cell.size,
        _mean([one.statistics for one in flops]),
        _mean(merges) if merges else None,
        _mean([one.choice for one in flops]),
        _mean([sum(one.seconds for one in found) for found in measured]),
        _mean(merged),
        _mean([sum(choice.spent.seconds.values()) for choice in choices]),
        _mean([choice.spent.candidates for choice in choices]),
        _mean([sum(one.size for one in found) for found in measured]),
        _mean(peaks) if peaks else None,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def prerequisites_of(entry: StudyMethod) -> Prerequisites:
    """From the declaration alone."""
    method = entry.declared
    statistics = _statistics(method)
    return Prerequisites(
        label=entry.label,
        base={"required": "needed", "origin": "optional", "endpoint": "is merged"}.get(
            method.base, "not needed"
        ),
        models=_amount(method),
        statistics=statistics,
        gradients=method.learned or bool(_GRADIENTS & {*statistics}),
        texts=bool(statistics) or method.learned,
        scored_documents=entry.policy != "default",
        initialisation="any" if method.name == "pleas" else "common",
    )


def _statistics(method: Method) -> tuple[str, ...]:
    if method.statistics is None:
        return ()
    defaults = {own.name: own.default for own in method.parameters}
    found = method.statistics(
        {name: value for name, value in defaults.items() if value is not None}
    )
    return tuple(get_statistic(name).name for name in found)


def _amount(method: Method) -> str:
    if method.max_models is None:
        return f"{method.min_models} or more"
    if method.min_models == method.max_models:
        return f"exactly {method.min_models}"
    return f"{method.min_models} to {method.max_models}"


__all__ = ["Cost", "Prerequisites", "base_shapes", "costs_of_bases", "prerequisites_of"]
