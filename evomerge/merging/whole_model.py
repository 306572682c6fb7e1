"""Cuts over all tensors of a model at once: the published TIES ranks magnitudes over the whole model.

Two passes over the deltas: counts by the upper bits of the magnitudes, then the entries of the one bin
in which the cut lies. Equal entries at the cut are kept in the order of the tensors, then of the index.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from evomerge.merging.kernels import EVERYTHING, Cut
from evomerge.merging.measure import Delta
from evomerge.merging.plan import Layout, Part
from evomerge.methods.amounts import kept_count

_KEPT = 64
"""Models and densities that are remembered: those of a candidate, and some more."""
Open = Callable[[Layout, Part], Delta]


class WholeModelCuts:
    """Cuts by model and density, remembered."""

    def __init__(self, open_delta: Open) -> None:
        self._open = open_delta
        self._counts: dict[tuple[int, str], NDArray[np.int64]] = {}
        self._cuts: dict[tuple[int, str, float], dict[str, Cut]] = {}
        self._plans: dict[int, Sequence[Layout]] = {}

    def cut(self, layouts: Sequence[Layout], layout: Layout, model: str, density: float) -> Cut:
        """The cut for one tensor, where `density` of the whole model's entries survive."""
        self._plans[id(layouts)] = layouts  # kept, so that no other plan gets this id
        key = (id(layouts), model, density)
        if key not in self._cuts:
            if len(self._cuts) >= _KEPT:
                self._cuts.clear()
            self._cuts[key] = self._find(layouts, model, density)
        return self._cuts[key][layout.name]

    def _find(self, layouts: Sequence[Layout], model: str, density: float) -> dict[str, Cut]:
        merged = [
            (other, part)
            for other in layouts
            if not other.copy and 0 not in other.shape
            for part in other.parts
            if part.model == model
        ]
        total = sum(part.info.numel for _, part in merged)
        keep = kept_count(density, total)
        if keep >= total:
            return {layout.name: EVERYTHING for layout, _ in merged}
        name = (id(layouts), model)
        if name not in self._counts:
            deltas = (self._open(*pair) for pair in merged)
            self._counts[name] = np.sum([delta.upper_counts() for delta in deltas], axis=0)
        counts = self._counts[name]
        above = np.cumsum(counts[::-1])[::-1]
        upper = int(np.flatnonzero(above >= keep)[-1])
        needed = keep - int(above[upper] - counts[upper])
        inside = [self._open(*pair).in_bin(upper) for pair in merged]
        values = np.concatenate([found for found, _ in inside])
        bits = np.partition(values, len(values) - needed)[len(values) - needed]
        threshold = float(bits.view(np.float32))
        left = needed - int((values > bits).sum())
        cuts = {}
        for (layout, part), (found, places) in zip(merged, inside, strict=True):
            ties = places[found == bits]
            kept = min(left, len(ties))
            whole = kept == len(ties)
            last = int(ties[kept - 1]) + 1 if kept else 0
            cuts[layout.name] = Cut(threshold, part.info.numel if whole else last)
            left -= kept
        return cuts
