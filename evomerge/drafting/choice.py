"""Which method, space and budget to begin with, from how far models are apart and how they conflict.

The bounds are those of the reading (`inspection.reading`), where each has its source; budgets follow the
presets' own advice (docs/search_spaces.md): about ten candidates a gene.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from evomerge.inspection import Geometry, Inspection
from evomerge.inspection.reading import (
    ALIKE,
    FEW_OPPOSED,
    MANY_OPPOSED,
    UNEVEN,
    mean_cosine,
    mean_opposed,
    percent,
    signed,
)
from evomerge.layout import CheckpointIndex
from evomerge.space import SearchSpace, count_problems
from evomerge.spec import StrategySpec, load_preset
from evomerge.strategy.choice import choose

PER_GENE, LEAST, MOST = 10, 40, 400
"""Candidates for each gene of the space, and bounds of the budget."""


@dataclass(frozen=True)
class Choices:
    """What a drafted search begins with; each reason is one sentence.

    next_space: what to try after it. strategy: what `auto` stands for.
    """

    space: str
    why_space: str
    next_space: str
    genes: int
    candidates: int
    why_candidates: str
    strategy: str
    why_strategy: str


def choose_search(
    found: Inspection,
    base: CheckpointIndex,
    models: tuple[str, ...],
    candidates: int | None = None,
) -> Choices:
    """The first search over models that fit their base.

    Args:
        base: headers of the base, which say how many genes a space has.
        candidates: the budget, where the user names it.
    """
    assert found.geometry is not None, "models that do not fit are refused before"
    space, why, after = next(
        option for option in _options(found.geometry) if _takes(option[0], len(models))
    )
    bound = SearchSpace(load_preset(space), found.geometry.base, models, base)
    budget = candidates or min(max(PER_GENE * bound.dimension, LEAST), MOST)
    why_budget = (
        "as you asked"
        if candidates
        else f"about {PER_GENE} for each of {bound.dimension} genes, at least {LEAST} and at most {MOST}"
    )
    strategy, why_strategy = choose(StrategySpec(), bound.dimension, bound.cells, 1, budget)
    return Choices(space, why, after, bound.dimension, budget, why_budget, strategy, why_strategy)


def _options(geometry: Geometry) -> Iterator[tuple[str, str, str]]:
    """Spaces with the reason and what to try next, the most fitting one first."""
    if len(geometry.models) == 1:
        yield (
            "one_model",
            "one fine-tune: how far to follow it, and by which method",
            "slerp_per_layer_kind",
        )
    cosine, opposed = mean_cosine(geometry), mean_opposed(geometry)
    if cosine is not None and opposed is not None:
        figures = f"mean cosine {signed(cosine)}, {percent(opposed)} opposite signs"
        if cosine > ALIKE and opposed < FEW_OPPOSED:
            yield (
                "linear_global",
                f"the models agree ({figures}): a weighted average",
                "linear_per_layer",
            )
        if opposed > MANY_OPPOSED:
            why = f"signs conflict ({figures}): TIES elects one for each entry"
            yield "ties_global", why, "ties_per_layer"
        why = f"the models have little to do with each other ({figures}): deltas are added, a weight each"
        if uneven(geometry):
            yield (
                "task_arithmetic_per_layer",
                f"{why}, per run of layers as these changed unevenly",
                "ties_per_layer",
            )
        yield "task_arithmetic_global", why, "task_arithmetic_per_layer"
    yield (
        "ties_global",
        "a copy of the base is among the models, so that no conflict can be measured",
        "ties_per_layer",
    )


def uneven(geometry: Geometry) -> bool:
    """Whether some model changed one run of layers much more than another."""
    for model in geometry.models:
        inner = [r.distance[model] for r in geometry.by_layers if r.layers != "outside"]
        known = [distance for distance in inner if distance]
        if known and max(known) > UNEVEN * min(known):
            return True
    return False


def _takes(space: str, count: int) -> bool:
    return not list(count_problems(load_preset(space), count))
