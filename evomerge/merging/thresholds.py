"""What a density means for one delta: which entries survive, and how much of its L1 norm.

A search tries thousands of densities on the same deltas. So each delta is sorted once, and a table
keeps the answer for every density of a grid of 1/1000; a candidate then only compares with two
numbers, in the same pass that merges. Densities off the grid are worked out on the spot.

Kept are exactly k = max(1, ⌊density · numel⌋) entries: those with |δ| > threshold, and of those
equal to it the ones with an index below `cutoff`.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.merging.masks import hash_31, keep_limit
from evomerge.methods.amounts import decimal, kept_count

GRID = 1000
TABLE = np.dtype([("threshold", "<f4"), ("cutoff", "<i8"), ("kept", "<f8")])
"""One row for each density j / GRID, j = 0 … GRID; row 0 is unused. `kept` is an L1 norm."""
Table = NDArray[np.void]
Bits = NDArray[np.uint32]
_BLOCK = 1 << 20
_BUCKET = 7
"""Thresholds are looked up by all but their last bits; when two share a bucket, by bisection."""
_TABLE_FROM = 1 << 20


@dataclass(frozen=True)
class Kept:
    """What survives of a delta at one density; `share` is the kept part of its L1 norm."""

    threshold: float
    cutoff: int
    share: float

    @property
    def rescale(self) -> float:
        """The factor that restores the L1 norm."""
        return 1.0 / self.share if self.share > 0 else 1.0


ALL = Kept(threshold=-1.0, cutoff=0, share=1.0)


@lru_cache(4096)
def grid_row(density: float) -> int | None:
    """The row of a density on the grid, or None off the grid."""
    row = decimal(density) * GRID
    return int(row) if row.denominator == 1 else None


def from_table(table: Table, density: float) -> Kept:
    """The entry of a density that lies on the grid."""
    row = grid_row(density)
    assert row is not None, density
    total, kept = float(table["kept"][GRID]), float(table["kept"][row])
    share = kept / total if total > 0 else 1.0
    return Kept(float(table["threshold"][row]), int(table["cutoff"][row]), share)


def magnitudes(base: Tensor, model: Tensor) -> Bits:
    """|model − base| in fp32 as bit patterns, which sort like the numbers; flat, [numel]."""
    delta_P = model.reshape(-1).float() - base.reshape(-1).float()
    return delta_P.abs_().numpy().view(np.uint32)


def magnitude_table(bits: Bits) -> Table:
    """Thresholds, cutoffs and kept norms for every grid density, from one sort."""
    count = len(bits)
    ordered = np.sort(bits)
    keeps = np.array([max(1, row * count // GRID) for row in range(1, GRID + 1)])
    found = ordered[count - keeps]
    table = np.zeros(GRID + 1, TABLE)
    table["threshold"][1:] = found.view(np.float32)
    table["cutoff"][1:] = _cutoffs(bits, ordered, keeps, found)
    table["kept"][1:] = _kept_norms(ordered, keeps)
    return table


def magnitude_kept(bits: Bits, density: float) -> Kept:
    """The same for a single density, from a partition."""
    count = len(bits)
    keep = kept_count(density, count)
    found = np.partition(bits, count - keep)[count - keep]
    ties = np.flatnonzero(bits == found)
    above = bits[bits > found].view(np.float32)
    needed = keep - len(above)
    threshold = float(found.view(np.float32))
    total = float(bits.view(np.float32).sum(dtype=np.float64))
    kept = float(above.sum(dtype=np.float64)) + needed * threshold
    share = kept / total if total > 0 else 1.0
    return Kept(threshold, int(ties[needed - 1]) + 1, share)


def _kept_norms(ordered: Bits, keeps: NDArray[np.int64]) -> NDArray[np.float64]:
    edges, place = np.unique(len(ordered) - keeps, return_inverse=True)
    parts = np.add.reduceat(ordered.view(np.float32), edges, dtype=np.float64)
    from_edge = np.cumsum(parts[::-1])[::-1]
    norms: NDArray[np.float64] = from_edge[place]
    return norms


def _cutoffs(bits: Bits, ordered: Bits, keeps: NDArray[np.int64], found: Bits) -> NDArray[np.int64]:
    """For each threshold one past the index of the last tie that is still kept.

    Goes through the delta block by block and counts ties; where a threshold's last one lies in the
    block, a stable sort of the block by threshold finds it.
    """
    values, place = np.unique(found, return_inverse=True)
    needed = keeps - (len(bits) - np.searchsorted(ordered, found, side="right"))
    cutoffs = np.zeros(len(found), np.int64)
    which = _which_value(values, len(bits))
    for start in range(0, len(bits), _BLOCK):
        value_C = which(bits[start : start + _BLOCK])
        counts = np.bincount(value_C, minlength=len(values) + 1)
        here = np.flatnonzero((needed > 0) & (needed <= counts[place]))
        if len(here):
            order = np.argsort(value_C, kind="stable")
            first = np.cumsum(counts) - counts
            cutoffs[here] = start + order[first[place[here]] + needed[here] - 1] + 1
        needed = needed - counts[place]
    return cutoffs


def _which_value(values: Bits, count: int) -> Callable[[Bits], NDArray[np.uint16]]:
    """A function that says for bit patterns which of `values` they are; `len(values)` for none.

    `count`: how many patterns will be asked for; few are not worth a table.
    """
    buckets = values >> _BUCKET
    other = np.append(values, np.uint32(0xFFFFFFFF))
    bisect = count < _TABLE_FROM or len(np.unique(buckets)) < len(values)
    table = np.full(1 if bisect else 1 << (32 - _BUCKET), len(values), np.uint16)
    if not bisect:
        table[buckets] = np.arange(len(values), dtype=np.uint16)

    def which(bits_C: Bits) -> NDArray[np.uint16]:
        near_C = np.searchsorted(values, bits_C) if bisect else table[bits_C >> _BUCKET]
        found_C: NDArray[np.uint16] = np.where(other[near_C] == bits_C, near_C, len(values))
        return found_C.astype(np.uint16, copy=False)

    return which


def random_table(bits: Bits, key: tuple[int, int]) -> Table:
    """Kept norms of a random mask for every grid density."""
    sums = np.zeros(GRID + 1)
    for start, hash_C in _hashes(len(bits), key):
        row_C = ((hash_C.astype(np.int64) * GRID) >> 31) + 1
        weight_C = bits[start : start + len(row_C)].view(np.float32)
        sums += np.bincount(row_C, weights=weight_C, minlength=GRID + 1)
    table = np.zeros(GRID + 1, TABLE)
    table["kept"] = np.cumsum(sums)
    return table


def random_kept(bits: Bits, key: tuple[int, int], density: float) -> Kept:
    """The same for a single density."""
    limit = keep_limit(density)
    total = kept = 0.0
    for start, hash_C in _hashes(len(bits), key):
        size_C = bits[start : start + len(hash_C)].view(np.float32)
        total += float(size_C.sum(dtype=np.float64))
        kept += float(size_C[hash_C <= limit].sum(dtype=np.float64))
    return Kept(-1.0, 0, kept / total if total > 0 else 1.0)


def _hashes(count: int, key: tuple[int, int]) -> Iterator[tuple[int, NDArray[np.int32]]]:
    first, second = (torch.tensor(part, dtype=torch.int32) for part in key)
    for start in range(0, count, _BLOCK):
        index_C = torch.arange(start, min(start + _BLOCK, count), dtype=torch.int64)
        yield start, hash_31(index_C.to(torch.int32), first, second).numpy()


def cosine(a: Tensor, b: Tensor) -> float:
    """Cosine of the angle between two tensors, in fp64, the same for any number of threads."""
    sums = np.zeros(3)
    for start in range(0, a.numel(), _BLOCK):
        a_C, b_C = (x.reshape(-1)[start : start + _BLOCK].double().numpy() for x in (a, b))
        sums += [(a_C * a_C).sum(), (b_C * b_C).sum(), (a_C * b_C).sum()]
    norms = float(np.sqrt(sums[0]) * np.sqrt(sums[1]))
    return min(max(float(sums[2]) / norms, -1.0), 1.0) if norms > 0 else 0.0
