"""From a tensor's plan to the scalars its kernel reads: weights, cuts, mask keys, divisor."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.kernels import Knobs, Select
from evomerge.merging.measure import inner_products
from evomerge.merging.plan import Layout, Part, TensorPlan
from evomerge.merging.rank_store import RankStore
from evomerge.merging.selection import Selector
from evomerge.merging.statistics import StatisticsCache
from evomerge.methods import Measured, Method, get_method
from evomerge.methods.base import Span
from evomerge.recipe import Recipe

_AXES: dict[Span, int | None] = {"tensor": None, "model": None, "row": -1, "column": 0}


@dataclass(frozen=True)
class Scalars:
    """All that is known of one tensor before its merge.

    `lines`: instead of one weight a model one for each row (`axis` −1) or column (0), [R, N].
    `masks`: for each model the entries that take part, or their levels, flat, where its knobs do not
        say it.
    """

    models: tuple[Knobs, ...]
    selects: tuple[Select, ...]
    masks: tuple[Tensor | None, ...] = ()
    divisor: float = 1.0
    scale: float = 1.0
    normalize: bool = False
    vote: str = "sum"
    lines: NDArray[np.float64] | None = field(default=None, compare=False)
    axis: int | None = None


class KnobMaker:
    """Turns plans into scalars; measures what a method needs, once for each group of tensors.

    Args:
        tables: whether cuts shall be known for every density, as a search wants them.
    """

    def __init__(
        self,
        checkpoints: Mapping[str, Checkpoint],
        cache: StatisticsCache,
        ranks: RankStore,
        *,
        tables: bool = True,
    ) -> None:
        self._checkpoints = checkpoints
        self._cache = cache
        self._totals: dict[tuple[int, tuple[str, ...]], NDArray[np.float64]] = {}
        self._plans: dict[int, Sequence[Layout]] = {}
        self._selector = Selector(checkpoints, cache, ranks, tables=tables)

    def scalars(self, recipe: Recipe, plan: TensorPlan, layouts: Sequence[Layout]) -> Scalars:
        """The scalars of one tensor of a recipe, whose tensors are `layouts`."""
        method = get_method(recipe.merge_method)
        if method.coefficients is not None:
            return self._weighted(method, plan, layouts)
        chosen = self._selector.select(recipe, method, plan, layouts)
        normalize = bool(plan.values.get("normalize", method.vote == "delta"))
        divisor = sum(knobs.weight for knobs in chosen.knobs) if normalize else 1.0
        return Scalars(
            chosen.knobs,
            chosen.selects,
            chosen.masks,
            divisor,
            float(plan.values.get("lambda", 1.0)),
            normalize,
            str(plan.values.get("election", method.vote)),
        )

    def _weighted(self, method: Method, plan: TensorPlan, layouts: Sequence[Layout]) -> Scalars:
        """Weights from the angles and norms of the models."""
        assert method.coefficients is not None
        span = method.vectors(plan.values) if method.vectors else None
        dots = np.zeros((0, 0)) if span is None else self._dots(span, plan.layout, layouts)
        weights = method.coefficients(Measured(dots, plan.values, plan.own))
        selects = (Select.ALL,) * len(plan.own)
        if weights.ndim == 1:
            return Scalars(tuple(Knobs(w, w) for w in weights.tolist()), selects)
        knobs = tuple(Knobs(1.0, 1.0) for _ in plan.own)
        return Scalars(knobs, selects, lines=weights, axis=_AXES[span or "row"])

    def _dots(self, span: Span, layout: Layout, layouts: Sequence[Layout]) -> NDArray[np.float64]:
        if span != "model":
            return self._products(layout, _AXES[span])
        # Over all tensors that the same models are merged into: slices may differ in theirs.
        models = tuple(part.model for part in layout.parts)
        key = (id(layouts), models)
        if key not in self._totals:
            self._plans[id(layouts)] = layouts  # kept, so that no other plan gets this id
            alike = [x for x in layouts if models == tuple(part.model for part in x.parts)]
            merged = [x for x in alike if not x.copy and 0 not in x.shape]
            self._totals[key] = np.sum([self._products(x, None) for x in merged], axis=0)
        return self._totals[key]

    def _products(self, layout: Layout, axis: int | None) -> NDArray[np.float64]:
        marks = [self._print(part) for part in (layout.base, *layout.parts) if part is not None]

        def compute() -> NDArray[np.float64]:
            base = None if layout.base is None else self._tensor(layout.base)
            return inner_products([self._tensor(part) for part in layout.parts], base, axis)

        return self._cache.get(("dots", axis, layout.base is None, *marks), compute)

    def _print(self, part: Part) -> str:
        return self._checkpoints[part.model].fingerprint(part.info)

    def _tensor(self, part: Part) -> Tensor:
        return self._checkpoints[part.model].tensor(part.info)
