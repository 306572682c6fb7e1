"""What a cell costs in floating-point operations: statistics, merge, search, learning.

Counted, not measured: a multiply and an add are two operations, a forward pass is 2 P for each token and
one with its gradients 6 P. Linear layers of n inputs and o outputs, P parameters, N models, T tokens.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from evomerge.layout import CheckpointIndex, kind_of, layer_of
from evomerge.methods import get_method
from evomerge.methods.base import Trim
from evomerge.recipe import Recipe
from evomerge.study.records import Choice
from evomerge.study.statistics import MeasuredStatistic


@dataclass(frozen=True)
class Shapes:
    """A model: its parameters, and inputs and outputs of its linear layers."""

    parameters: int
    linears: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Flops:
    """By part; 0 where there is none, and merge None for methods whose work is not counted."""

    statistics: float
    merge: float | None
    choice: float

    @property
    def total(self) -> float | None:
        return None if self.merge is None else self.statistics + self.merge + self.choice


def shapes_of(index: CheckpointIndex) -> Shapes:
    """From a checkpoint's headers; a matrix inside the layers is a linear layer."""
    found = [
        (info.shape[1], info.shape[0])
        for name, info in index.tensors.items()
        if len(info.shape) == 2 and layer_of(name) is not None and kind_of(name) != "norm"
    ]
    return Shapes(index.num_parameters, tuple(found))


def flops_of(choice: Choice, shapes: Shapes) -> Flops:
    """What a cell took; the choice counts every candidate's merge and the passes over its documents."""
    merge = merge_flops(choice.recipe, shapes)
    learned = get_method(choice.recipe.merge_method).learned or choice.extra is not None
    spent = choice.spent
    passes = (8.0 if learned else 2.0) * shapes.parameters * spent.tokens
    return Flops(
        statistics_flops(spent.statistics, shapes),
        merge,
        passes + spent.candidates * (merge or 0.0),
    )


def statistics_flops(measured: Iterable[MeasuredStatistic], shapes: Shapes) -> float:
    """Of everything that was measured for a merge."""
    return sum(_statistic(one, shapes) for one in measured)


def _statistic(one: MeasuredStatistic, shapes: Shapes) -> float:
    forward = 2.0 * shapes.parameters * one.tokens
    inputs = sum(2.0 * one.tokens * n**2 for n, _ in shapes.linears)
    outputs = sum(2.0 * one.tokens * o**2 for _, o in shapes.linears)
    squares = 2.0 * shapes.parameters * one.examples
    return {
        "input_grams": forward + inputs,
        "output_gradient_grams": 3 * forward + outputs,
        "fisher": 3 * forward + squares,
        "empirical_fisher": 3 * forward + squares,
        "sensitivity": 3 * forward + squares,
    }.get(one.statistic, forward)


def merge_flops(recipe: Recipe, shapes: Shapes) -> float | None:
    """One merge by a recipe; None for methods that change structure."""
    method = get_method(recipe.merge_method)
    count, size = len(list(recipe.sources())), float(shapes.parameters)
    if method.rebuilds and not method.learned:
        return None
    if method.name in _SOLVED:
        return _SOLVED[method.name](_values(recipe), count, shapes)
    weighted = 2 * count * size + size
    return (
        weighted
        + _trimming(method.trim, count, size)
        + (5 * count * size if _elects(recipe) else 0)
    )


def _elects(recipe: Recipe) -> bool:
    """Whether signs are elected."""
    return any(mark in recipe.merge_method for mark in ("ties", "della", "sce")) and (
        not recipe.merge_method.endswith("_linear")
    )


def _trimming(trim: Trim, count: int, size: float) -> float:
    sorting = count * size * math.log2(max(size, 2.0))
    if trim is Trim.NONE:
        return 0.0
    return 3 * count * size if trim in {Trim.RANDOM, Trim.VARIANCE} else sorting


def _regmean(values: Mapping[str, Any], count: int, shapes: Shapes) -> float:
    del values
    return sum(2.0 * count * n * n * o + 2 * n**3 + 2 * n * n * o for n, o in shapes.linears)


def _mats(values: Mapping[str, Any], count: int, shapes: Shapes) -> float:
    steps = float(values["iterations"])
    if values["objective"] == "fisher":
        return steps * 2.0 * count * shapes.parameters
    second = values["objective"] == "kfac"
    return steps * sum(
        2.0 * count * (n * n * o + (n * o * o if second else 0)) for n, o in shapes.linears
    )


def _fisher(values: Mapping[str, Any], count: int, shapes: Shapes) -> float:
    del values
    return 4.0 * count * shapes.parameters


_SOLVED: Mapping[str, Callable[[Mapping[str, Any], int, Shapes], float]] = {
    "regmean": _regmean,
    "mats": _mats,
    "fisher": _fisher,
}


def _values(recipe: Recipe) -> dict[str, Any]:
    method = get_method(recipe.merge_method)
    values: dict[str, Any] = {own.name: own.default for own in method.parameters}
    return values | {name: setting[0].value for name, setting in recipe.parameters.items()}
