"""Which entries of each delta take part in a merge, and by how much what is left is scaled up.

Cuts, norms and ranks are measured once and kept: a table for every density where a search will ask for
many, a single cut otherwise. Masks (by row, by variance) are made for a tensor and dropped after it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evomerge.merging import row_masks, thresholds
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.kernels import EVERYTHING, NOTHING, Cut, Knobs, Select
from evomerge.merging.masks import SCHEME, WHOLE, keep_limit, mask_key
from evomerge.merging.measure import Delta
from evomerge.merging.plan import Layout, Part, TensorPlan
from evomerge.merging.rank_store import RankStore
from evomerge.merging.statistics import StatisticsCache
from evomerge.merging.whole_model import WholeModelCuts
from evomerge.methods import Method, Trim
from evomerge.recipe import Recipe

Key = tuple[int, int]
_CHUNK = 1 << 20
"""Entries of all models that are looked at together: no delta is ever whole in memory."""
_FEW = 1 << 16
"""Entries up to which the norm that is left of ranked ones is taken of the very mask, not of its chances:
of more it differs from what chances say by less than a hundredth."""


@dataclass(frozen=True)
class Chosen:
    """Knobs, ways of selection and masks, one of each a model."""

    knobs: tuple[Knobs, ...]
    selects: tuple[Select, ...]
    masks: tuple[Tensor | None, ...]


@dataclass(frozen=True)
class _One:
    """What is selected of one delta; `gain` makes up for what is dropped."""

    select: Select = Select.ALL
    gain: float = 1.0
    low: Cut = EVERYTHING
    high: Cut = NOTHING
    limit: int = 0
    key: Key = (0, 0)
    step: int = 0
    mask: Tensor | None = None


class Selector:
    """Makes the selection of each method's `trim`."""

    def __init__(
        self,
        checkpoints: Mapping[str, Checkpoint],
        cache: StatisticsCache,
        ranks: RankStore,
        *,
        tables: bool,
    ) -> None:
        self._checkpoints = checkpoints
        self._cache = cache
        self._ranks = ranks
        self._tables = tables
        self._whole = WholeModelCuts(self.delta)

    def select(
        self, recipe: Recipe, method: Method, plan: TensorPlan, layouts: Sequence[Layout]
    ) -> Chosen:
        """The selection for one tensor."""
        if method.trim is Trim.VARIANCE:
            return self._by_variance(plan)
        knobs: list[Knobs] = []
        ones: list[_One] = []
        for number, part in enumerate(plan.layout.parts):
            weight = float(plan.own[number].get("weight", 1.0))
            one = self._one(recipe, method.trim, plan, number, part, layouts)
            gained = weight * one.gain
            knobs.append(Knobs(weight, gained, one.low, one.high, one.limit, one.key, one.step))
            ones.append(one)
        return Chosen(tuple(knobs), tuple(x.select for x in ones), tuple(x.mask for x in ones))

    def _one(
        self,
        recipe: Recipe,
        trim: Trim,
        plan: TensorPlan,
        number: int,
        part: Part,
        layouts: Sequence[Layout],
    ) -> _One:
        density = float(plan.own[number].get("density", 1.0))
        if trim is Trim.NONE or density >= 1.0:
            return _One()
        if trim in {Trim.RANDOM, Trim.RANKED}:
            key = mask_key(recipe.seed, recipe.all_models().index(part.model), part.info.name)
            by_chance = self._at_random if trim is Trim.RANDOM else self._by_rank
            return by_chance(plan, number, density, key)
        return self._by_magnitude(plan, number, density, layouts)

    def _by_magnitude(
        self, plan: TensorPlan, number: int, density: float, layouts: Sequence[Layout]
    ) -> _One:
        """The largest entries, without outliers where there is a gamma."""
        layout, part = plan.layout, plan.layout.parts[number]
        rescale, scope = bool(plan.values["rescale"]), str(plan.values["scope"])
        gamma = float(plan.own[number].get("gamma", 0.0))
        if scope == "row":
            return self._in_rows(layout, part, density, gamma, rescale)
        if scope == "model":
            low = self._whole.cut(layouts, layout, part.model, density)
            return self._cut_out(layout, part, low, NOTHING, rescale)
        first, last = row_masks.band(part.info.numel, density, gamma)
        low, high = (self._cut(layout, part, keep) for keep in (last, first))
        return self._cut_out(layout, part, low, high, rescale)

    def _cut_out(self, layout: Layout, part: Part, low: Cut, high: Cut, rescale: bool) -> _One:
        """What lies between two cuts."""
        gain = 1.0
        if rescale:
            name = ("band", low, high, *self._names(layout, part))
            share = self._cache.remember(
                name, lambda: np.array([self.delta(layout, part).band_share(low, high)])
            )
            gain = 1.0 / float(share[0])
        select = Select.CUT if high == NOTHING else Select.BAND
        return _One(select, gain, low, high)

    def _at_random(self, plan: TensorPlan, number: int, density: float, key: Key) -> _One:
        """DARE: each entry with the same chance."""
        gain, limit = 1.0, keep_limit(density)
        if plan.values["rescale"]:
            exact = plan.values["rescale_by"] == "probability"
            share = limit / WHOLE if exact else self._random_share(plan, number, density, key)
            gain = 1.0 / share
        return _One(Select.HASH, gain, limit=limit, key=key)

    def _by_rank(self, plan: TensorPlan, number: int, density: float, key: Key) -> _One:
        """DELLA: the chance grows with the rank in the row."""
        layout, part = plan.layout, plan.layout.parts[number]
        levels, mean = self._ranks.of(self._names(layout, part), lambda: self.delta(layout, part))
        columns = (layout.shape or (1,))[-1]
        chances = row_masks.Chances.of(density, float(plan.own[number]["epsilon"]), columns)
        gain = 1.0
        if plan.values["rescale"]:
            if plan.values["rescale_by"] == "probability":
                kept = row_masks.ranked_mask(levels, chances, key)
                factors = np.where(kept, WHOLE / chances.at(levels), 0.0)
                return _One(Select.MASK, mask=torch.from_numpy(factors.astype(np.float32)))
            few = levels.size <= _FEW
            gain = 1.0 / (
                self.delta(layout, part).ranked_share(levels, chances, key)
                if few
                else chances.mean(mean)
            )
        mask = torch.from_numpy(levels)
        return _One(Select.RANK, gain, limit=chances.lowest, key=key, step=chances.step, mask=mask)

    def _in_rows(
        self, layout: Layout, part: Part, density: float, gamma: float, rescale: bool
    ) -> _One:
        delta = self.delta(layout, part)
        bits = delta.bits()
        mask = row_masks.band_in_rows(bits, delta.columns, density, gamma)
        share = thresholds.share_of(thresholds.norm_of(bits, mask), thresholds.norm_of(bits))
        gain = 1.0 / share if rescale else 1.0
        return _One(Select.MASK, gain, mask=torch.from_numpy(mask))

    def _by_variance(self, plan: TensorPlan) -> Chosen:
        """SCE: one mask for all models, and their weights from what it leaves of each."""
        layout, share = plan.layout, float(plan.values["select_topk"])
        deltas = [self.delta(layout, part) for part in layout.parts]
        count, numel = len(deltas), deltas[0].numel
        chunks = [slice(at, at + _CHUNK) for at in range(0, numel, _CHUNK)]
        variance = np.empty(numel, np.float32)
        for chunk in chunks:
            stacked = np.stack([delta.values(chunk) for delta in deltas])
            variance[chunk] = stacked.var(axis=0, dtype=np.float32)
        mask = row_masks.variance_mask(variance, share)
        energies = [
            sum(
                float(np.square(delta.values(chunk)[mask[chunk]], dtype=np.float64).sum())
                for chunk in chunks
            )
            for delta in deltas
        ]
        total = sum(energies)
        weights = [energy / total if total > 0 else 1.0 / count for energy in energies]
        knobs = tuple(Knobs(weight, weight) for weight in weights)
        if share >= 1 or plan.values["variant"] == "official":
            return Chosen(knobs, (Select.ALL,) * count, (None,) * count)
        kept = torch.from_numpy(mask)
        return Chosen(knobs, (Select.MASK,) * count, (kept,) * count)

    def _cut(self, layout: Layout, part: Part, keep: int) -> Cut:
        """The cut above `keep` entries: from the table where it has it, remembered where not."""
        numel = part.info.numel
        if not self._tables or not 0 < keep < numel:
            return self.delta(layout, part).cut(keep)
        names = self._names(layout, part)
        table = self._cache.get(
            ("cuts", *names), lambda: self.delta(layout, part).magnitude_table()
        )
        found = thresholds.cut_from_table(table, numel, keep)
        if found is not None:
            return found

        def compute() -> thresholds.Table:
            cut = self.delta(layout, part).cut(keep)
            return np.array([(cut.threshold, cut.cutoff, 0.0)], thresholds.TABLE)

        one = self._cache.remember(("cut", keep, *names), compute)
        return Cut(float(one["threshold"][0]), int(one["cutoff"][0]))

    def _random_share(self, plan: TensorPlan, number: int, density: float, key: Key) -> float:
        layout, part = plan.layout, plan.layout.parts[number]
        row = thresholds.grid_row(density)
        if self._tables and row is not None:
            table = self._cache.get(
                ("random", SCHEME, key, *self._names(layout, part)),
                lambda: self.delta(layout, part).random_table(key),
            )
            return thresholds.share_of(
                float(table["kept"][row]), float(table["kept"][thresholds.GRID])
            )
        return self.delta(layout, part).random_share(key, density)

    def delta(self, layout: Layout, part: Part) -> Delta:
        """A model's tensor against the base's."""
        assert layout.base is not None
        return Delta(self._tensor(layout.base), self._tensor(part))

    def _names(self, layout: Layout, part: Part) -> tuple[str, str]:
        assert layout.base is not None
        base, model = (self._checkpoints[x.model].fingerprint(x.info) for x in (layout.base, part))
        return base, model

    def _tensor(self, part: Part) -> Tensor:
        return self._checkpoints[part.model].tensor(part.info)
