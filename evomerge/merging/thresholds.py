"""What a density means for one delta: which entries survive, and how much of its L1 norm.

Kept are exactly k = max(1, ⌊density · numel⌋) entries: those above a `Cut`. A search tries thousands
of densities on the same deltas, so a table keeps the cut for every density of a grid of 1/1000; a
candidate then only compares with two numbers, in the same pass that merges. Densities off the grid are
worked out on the spot. Here are the definitions, in numpy; `measure` does the same in C.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.merging.kernels import EVERYTHING, NOTHING, Cut
from evomerge.merging.masks import hash_32, int32, keep_limit, key_at
from evomerge.methods.amounts import decimal

GRID = 1000
TABLE = np.dtype([("threshold", "<f4"), ("cutoff", "<i8"), ("kept", "<f8")])
"""One row for each density j / GRID, j = 0 … GRID; row 0 is unused. `kept` is an L1 norm.

Cuts of magnitudes have as many rows again, for one entry less: ⌊d·n⌋ + ⌊γ·n⌋ is ⌊(d + γ)·n⌋ or one less.
"""
Table = NDArray[np.void]
Bits = NDArray[np.uint32]
BLOCK = 1 << 16
"""Entries in one partial sum: sums do not depend on how tensors are read or threaded."""


@lru_cache(4096)
def grid_row(density: float) -> int | None:
    """The row of a density on the grid, or None off the grid."""
    row = decimal(density) * GRID
    return int(row) if row.denominator == 1 else None


def grid_counts(numel: int) -> NDArray[np.int64]:
    """How many entries each density of the grid keeps, and one less, [2 (GRID + 1)], at least 1."""
    counts = np.arange(GRID + 1, dtype=np.int64) * numel // GRID
    both: NDArray[np.int64] = np.maximum(np.concatenate([counts, counts - 1]), 1)
    return both


def cut_from_table(table: Table, numel: int, keep: int) -> Cut | None:
    """The cut above `keep` entries, where a row of the table has it."""
    row = -(-keep * GRID // numel)
    for place in (row, row + GRID + 2):
        if place < len(table) and _counts(numel)[place] == keep:
            return Cut(float(table["threshold"][place]), int(table["cutoff"][place]))
    return None


@lru_cache(256)
def _counts(numel: int) -> NDArray[np.int64]:
    return grid_counts(numel)


def share_of(kept: float, total: float) -> float:
    """kept / total, 1 where there is nothing."""
    return kept / total if total > 0 and kept > 0 else 1.0


def magnitudes(base: Tensor, model: Tensor) -> Bits:
    """|model − base| in fp32 as bit patterns, which sort like the numbers; flat, [numel]."""
    delta_P = model.reshape(-1).float() - base.reshape(-1).float()
    return delta_P.abs_().numpy().view(np.uint32)


def cut_at(bits: Bits, keep: int) -> Cut:
    """The cut that has exactly `keep` entries above it."""
    count = len(bits)
    if keep <= 0 or count == 0:
        return NOTHING
    if keep >= count:
        return EVERYTHING
    found = np.partition(bits, count - keep)[count - keep]
    ties = np.flatnonzero(bits == found)
    needed = keep - int((bits > found).sum())
    return Cut(float(found.view(np.float32)), int(ties[needed - 1]) + 1)


def above(bits: Bits, cut: Cut) -> NDArray[np.bool_]:
    """The entries above a cut."""
    sizes = bits.view(np.float32)
    tied = (sizes == np.float32(cut.threshold)) & (np.arange(len(bits)) < cut.cutoff)
    kept: NDArray[np.bool_] = (sizes > cut.threshold) | tied
    return kept


def norm_of(bits: Bits, keep: NDArray[np.bool_] | None = None) -> float:
    """The L1 norm of the entries kept, summed in float64 block by block."""
    sizes = bits.view(np.float32) if keep is None else np.where(keep, bits.view(np.float32), 0)
    starts = range(0, len(sizes), BLOCK)
    return float(sum(sizes[i : i + BLOCK].sum(dtype=np.float64) for i in starts))


def magnitude_table(bits: Bits) -> Table:
    """Thresholds, cutoffs and kept norms for every grid density, from one sort."""
    count = len(bits)
    order = np.argsort(~bits, kind="stable")
    ordered = bits[order]
    keeps = grid_counts(count)
    table = np.zeros(len(keeps), TABLE)
    table["threshold"] = ordered[keeps - 1].view(np.float32)
    table["cutoff"] = order[keeps - 1] + 1
    return table


def random_table(bits: Bits, key: tuple[int, int]) -> Table:
    """Kept norms of a random mask for every grid density."""
    sums = np.zeros(GRID + 1)
    for start, hash_C in _hashes(len(bits), key):
        row_C = ((hash_C.astype(np.int64) * GRID) >> 32) + 1
        weight_C = bits[start : start + len(row_C)].view(np.float32)
        sums += np.bincount(row_C, weights=weight_C, minlength=GRID + 1)
    table = np.zeros(GRID + 1, TABLE)
    table["kept"] = np.cumsum(sums)
    return table


def random_share(bits: Bits, key: tuple[int, int], density: float) -> float:
    """The share of the L1 norm that a random mask keeps at one density."""
    limit = keep_limit(density)
    total = kept = 0.0
    for start, hash_C in _hashes(len(bits), key):
        size_C = bits[start : start + len(hash_C)].view(np.float32)
        total += float(size_C.sum(dtype=np.float64))
        kept += float(np.where(hash_C < limit, size_C, 0).sum(dtype=np.float64))
    return share_of(kept, total)


def _hashes(count: int, key: tuple[int, int]) -> Iterator[tuple[int, NDArray[np.uint32]]]:
    for start in range(0, count, BLOCK):
        yield start, hashes(start, min(start + BLOCK, count), key)


def hashes(start: int, end: int, key: tuple[int, int]) -> NDArray[np.uint32]:
    """The hashes in [0, 2^32) of the entries from `start` to `end` under a mask's key."""
    edge = (start | 0xFFFFFFFF) + 1
    if end > edge:
        return np.concatenate([hashes(start, edge, key), hashes(edge, end, key)])
    index_C = torch.arange(int32(start), int32(start) + end - start).to(torch.int32)
    first, second = (torch.tensor(x, dtype=torch.int32) for x in key_at(key, start >> 32))
    return hash_32(index_C, first, second).numpy().view(np.uint32)


def inner_products(
    tensors: list[Tensor], base: Tensor | None, axis: int | None
) -> NDArray[np.float64]:
    """Inner products [..., N, N] in fp64 of tensors, or of what they add to `base`.

    `axis` None takes a tensor as one vector; −1 its rows (vectors along the last dimension), 0 its
    columns (along the first): [R, N, N].
    """
    parts = [_delta(tensor, base) for tensor in tensors]
    if axis is None:
        total = np.zeros((len(parts), len(parts)))
        for start in range(0, parts[0].numel(), BLOCK):
            block = np.stack([x.reshape(-1)[start : start + BLOCK].double().numpy() for x in parts])
            total += np.einsum("ip,jp->ij", block, block)
        return total
    rows = [x.double().movedim(axis, -1).reshape(-1, x.shape[axis]).numpy() for x in parts]
    stacked = np.stack(rows)
    found: NDArray[np.float64] = np.einsum("irp,jrp->rij", stacked, stacked)
    return found


def _delta(tensor: Tensor, base: Tensor | None) -> Tensor:
    wide = tensor.reshape(tensor.shape or (1,)).float()
    return wide if base is None else wide - base.reshape(wide.shape).float()
