"""Masks that depend on where an entry stands within its row, and on what several models say of it.

Rows are all dimensions but the last; a vector is one row. Magnitudes come as bit patterns of fp32,
which sort like the numbers; equal ones are ranked by index. numpy throughout: `measure` has C for the
ones that searches use.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from evomerge.merging.masks import WHOLE
from evomerge.merging.thresholds import Bits, above, cut_at, hashes
from evomerge.methods.amounts import decimal, kept_count, share_count

Mask = NDArray[np.bool_]
Levels = NDArray[np.uint8]
TOP = 255
"""The level of the largest entry of a row."""


def ranks_in_rows(bits: Bits, columns: int) -> NDArray[np.int64]:
    """The rank of every entry within its row, 0 for the smallest, [rows, columns]."""
    rows = bits.reshape(-1, columns)
    order = np.argsort(rows, axis=1, kind="stable")
    ranks = np.empty_like(order)
    np.put_along_axis(ranks, order, np.arange(columns)[None, :].repeat(len(rows), 0), 1)
    return ranks


def band_in_rows(bits: Bits, columns: int, density: float, gamma: float) -> Mask:
    """Entries of each row that are left without its ⌊γ · columns⌋ largest and its small ones."""
    rows = ~bits.reshape(-1, columns)
    order = np.argsort(rows, axis=1, kind="stable")
    first, last = band(columns, density, gamma)
    mask = np.zeros(rows.shape, bool)
    np.put_along_axis(mask, order[:, first:last], True, 1)
    return mask.reshape(-1)


def band(count: int, density: float, gamma: float) -> tuple[int, int]:
    """The ranks, from the largest on, that are kept: [first, last). At the cost of outliers, if need be."""
    keep = kept_count(density, count)
    first = min(share_count(gamma, count), count - keep)
    return first, first + keep


@dataclass(frozen=True)
class Chances:
    """DELLA's chances of an entry, by its level: `lowest` + `step` · level, in units of 2^-32."""

    lowest: int
    step: int

    @classmethod
    def of(cls, density: float, epsilon: float, columns: int) -> "Chances":
        """From density − ε at level 0 to density + ε at TOP, all in (0, 1); the density in rows of one."""
        spread = decimal(epsilon) if columns > 1 else decimal(0.0)
        lowest = (decimal(density) - spread) * WHOLE
        return cls(max(int(lowest), 1), int(2 * spread * WHOLE / TOP))

    def mean(self, level: float) -> float:
        """The probability at a mean level."""
        return (self.lowest + self.step * level) / WHOLE

    def at(self, level: Levels) -> NDArray[np.int64]:
        """The probability at each level, in units of 2^-32."""
        found: NDArray[np.int64] = self.lowest + self.step * level.astype(np.int64)
        return found


def levels(bits: Bits, columns: int) -> Levels:
    """The rank of every entry within its row in TOP even steps, flat: 0 the smallest, TOP the largest."""
    ranks, last = ranks_in_rows(bits, columns).reshape(-1), max(columns - 1, 1)
    found: Levels = ((2 * TOP * ranks + last) // (2 * last)).astype(np.uint8)
    return found


def ranked_mask(levels: Levels, chances: Chances, key: tuple[int, int]) -> Mask:
    """True where the entry's hash is below its chance."""
    mask: Mask = hashes(0, len(levels), key) < chances.at(levels)
    return mask


def variance_mask(variance: NDArray[np.float32], share: float) -> Mask:
    """The share of entries, of those that vary at all, whose variance over the models is largest."""
    if share >= 1:
        return np.ones(len(variance), bool)
    count = int((variance != 0).sum())
    bits = variance.view(np.uint32)
    return above(bits, cut_at(bits, kept_count(share, count) if count else 0))
