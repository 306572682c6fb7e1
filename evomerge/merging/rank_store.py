"""Ranks within rows, kept for a search: they say nothing of a candidate, and cost more than its merge.

A byte an entry and expert, in this process's memory, up to a budget; what does not fit is ranked anew for
every candidate. Nothing is ever thrown out for something else: a search visits all tensors in turn, so
whatever went would be the next to be missed.
"""

from collections.abc import Callable
from threading import Lock
from typing import NamedTuple

import numpy as np
import torch

from evomerge.merging.measure import Delta
from evomerge.merging.placement import free_room
from evomerge.merging.row_masks import Levels

SHARE = 4
"""Without a budget, one part in so many of the memory that is free when the first ranks are asked for."""
Names = tuple[str, str]


class Ranks(NamedTuple):
    """Levels of a delta's entries, flat, and their mean, weighted by magnitude."""

    levels: Levels
    mean: float


class RankStore:
    """Ranks by the tensors that they are of.

    Args:
        budget: bytes that may be kept; None for a quarter of what is free.
    """

    def __init__(self, budget: int | None) -> None:
        self._budget = budget
        self._lock = Lock()
        self._kept: dict[Names, Ranks] = {}
        self._promised = 0

    @property
    def num_bytes(self) -> int:
        """What is kept."""
        return sum(ranks.levels.nbytes for ranks in self._kept.values())

    def of(self, names: Names, delta: Callable[[], Delta]) -> Ranks:
        """The ranks of a delta, whose tensors have these names."""
        found = self._kept.get(names)
        if found is not None:
            return found
        asked = delta()
        levels = np.empty(asked.numel, np.uint8)
        found = Ranks(levels, asked.levels(levels))
        if self._reserve(asked.numel):
            self._kept[names] = found
        return found

    def clear(self) -> None:
        """Let go of everything."""
        self._kept.clear()
        self._promised = 0

    def _reserve(self, count: int) -> bool:
        with self._lock:
            if self._budget is None:
                self._budget = free_room(torch.device("cpu")).host // SHARE
            fits = self._promised + count <= self._budget
            self._promised += count if fits else 0
        return fits
