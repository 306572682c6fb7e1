"""From a tensor's plan to the scalars its kernel reads: weights, thresholds, mask keys, divisor."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from evomerge.merging import thresholds
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.kernels import Knobs
from evomerge.merging.masks import keep_limit, mask_key
from evomerge.merging.plan import Layout, Part, TensorPlan
from evomerge.merging.statistics import StatisticsCache
from evomerge.merging.thresholds import ALL, Bits, Kept, Table
from evomerge.methods import Trim, get_method
from evomerge.methods.slerp import slerp_weights
from evomerge.recipe import Recipe


@dataclass(frozen=True)
class Scalars:
    """All scalars of one tensor."""

    models: tuple[Knobs, ...]
    divisor: float = 1.0
    scale: float = 1.0
    normalize: bool = False


class KnobMaker:
    """Turns plans into scalars; measures what a trim needs, once for each pair of tensors."""

    def __init__(self, checkpoints: Mapping[str, Checkpoint], cache: StatisticsCache) -> None:
        self._checkpoints = checkpoints
        self._cache = cache

    def scalars(self, recipe: Recipe, plan: TensorPlan) -> Scalars:
        """The scalars of one tensor of a recipe."""
        if recipe.merge_method == "slerp":
            return self._slerp(plan)
        trim = get_method(recipe.merge_method).trim
        models = tuple(
            self._knobs(recipe, plan, trim, number) for number in range(len(plan.layout.parts))
        )
        normalize = bool(plan.values.get("normalize", False))
        divisor = sum(knobs.weight for knobs in models) if normalize else 1.0
        return Scalars(models, divisor, float(plan.values.get("lambda", 1.0)), normalize)

    def _slerp(self, plan: TensorPlan) -> Scalars:
        base, other = plan.layout.parts
        key = ("cosine", self._print(base), self._print(other))
        found = self._cache.get(
            key, lambda: np.array([thresholds.cosine(*self._pair(base, other))])
        )
        weights = slerp_weights(float(plan.values["t"]), float(found[0]))
        return Scalars(tuple(Knobs(weight, weight) for weight in weights))

    def _knobs(self, recipe: Recipe, plan: TensorPlan, trim: Trim, number: int) -> Knobs:
        values, part = plan.own[number], plan.layout.parts[number]
        weight, density = float(values["weight"]), float(values.get("density", 1.0))
        if trim is Trim.NONE:
            return Knobs(weight, weight)
        key = (0, 0)
        if trim is Trim.RANDOM:
            key = mask_key(recipe.seed, recipe.all_models().index(part.model), part.info.name)
        rescale = bool(plan.values.get("rescale", False))
        kept = self._kept(plan.layout, part, trim, density, key, rescale)
        coefficient = weight * kept.rescale if rescale else weight
        return Knobs(weight, coefficient, kept.threshold, kept.cutoff, keep_limit(density), key)

    def _kept(
        self,
        layout: Layout,
        part: Part,
        trim: Trim,
        density: float,
        key: tuple[int, int],
        rescale: bool,
    ) -> Kept:
        random = trim is Trim.RANDOM
        if density >= 1.0 or (random and not rescale):
            return ALL
        assert layout.base is not None
        base = layout.base
        if thresholds.grid_row(density) is not None:
            return thresholds.from_table(self._table(base, part, key if random else None), density)
        bits = self._bits(base, part)
        if random:
            return thresholds.random_kept(bits, key, density)
        return thresholds.magnitude_kept(bits, density)

    def _table(self, base: Part, part: Part, key: tuple[int, int] | None) -> Table:
        name = ("trim", key, self._print(base), self._print(part))

        def compute() -> Table:
            bits = self._bits(base, part)
            if key is None:
                return thresholds.magnitude_table(bits)
            return thresholds.random_table(bits, key)

        return self._cache.get(name, compute)

    def _bits(self, base: Part, part: Part) -> Bits:
        return thresholds.magnitudes(*self._pair(base, part))

    def _pair(self, base: Part, part: Part) -> tuple[Tensor, Tensor]:
        return self._tensor(base), self._tensor(part)

    def _print(self, part: Part) -> str:
        return self._checkpoints[part.model].fingerprint(part.info)

    def _tensor(self, part: Part) -> Tensor:
        return self._checkpoints[part.model].tensor(part.info)
