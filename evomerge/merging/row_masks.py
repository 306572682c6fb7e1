"""Masks that depend on where an entry stands within its row, and on what several models say of it.

Rows are all dimensions but the last; a vector is one row. Magnitudes come as bit patterns of fp32,
which sort like the numbers; equal ones are ranked by index. numpy throughout: `measure` has C for the
ones that searches use.
"""

import numpy as np
from numpy.typing import NDArray

from evomerge.merging.thresholds import Bits, above, cut_at, hashes
from evomerge.methods.amounts import kept_count, share_count

Mask = NDArray[np.bool_]


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


def chances(bits: Bits, columns: int, density: float, epsilon: float) -> NDArray[np.float32]:
    """DELLA's probability of keeping each entry, flat; the density itself in rows of one."""
    ranks = ranks_in_rows(bits, columns).reshape(-1)
    step = np.float32(2 * epsilon / max(columns - 1, 1))
    low = np.float32(density - epsilon if columns > 1 else density)
    found: NDArray[np.float32] = low + step * ranks.astype(np.float32)
    return found


def ranked_mask(bits: Bits, chance: NDArray[np.float32], key: tuple[int, int]) -> Mask:
    """True where the entry's hash is below its chance."""
    uniform = hashes(0, len(bits), key).astype(np.float32) * np.float32(2.0**-31)
    mask: Mask = uniform < chance
    return mask


def variance_mask(variance: NDArray[np.float32], share: float) -> Mask:
    """The share of entries, of those that vary at all, whose variance over the models is largest."""
    if share >= 1:
        return np.ones(len(variance), bool)
    count = int((variance != 0).sum())
    bits = variance.view(np.uint32)
    return above(bits, cut_at(bits, kept_count(share, count) if count else 0))
