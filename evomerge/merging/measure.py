"""What a merge must know of its tensors before it can start: cuts, norms, masks by rank, inner products.

Each function has a definition in numpy (`thresholds`, `row_masks`) and a streaming pass in C
(`measure_source`), which runs where there is a compiler and the tensors' dtypes are known to it. Both
give the same cuts and masks; norms and inner products may differ in the last bits of a float64.
"""

import ctypes
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.merging import row_masks, thresholds
from evomerge.merging.compiler import CannotCompile, load
from evomerge.merging.kernels import EVERYTHING, NOTHING, Cut
from evomerge.merging.masks import keep_limit
from evomerge.merging.measure_source import SOURCE
from evomerge.merging.threads import even_spans, run_all, scratch
from evomerge.merging.thresholds import BLOCK, GRID, TABLE, Table, grid_counts, share_of

_CODES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
_SAMPLES = 1 << 13
_SLACK = 6
"""Standard deviations of the sample by which a cut's bounds are put apart."""
_FEW = 1 << 16
"""Entries below which a cut is looked for in all of them at once."""
_MANY = 1 << 32
"""Entries from which on places do not fit into 32 bits."""
_LOWER = 15
"""Bits of a magnitude that its upper half leaves."""


class _Delta(ctypes.Structure):
    _fields_ = (
        ("base", ctypes.c_void_p),
        ("model", ctypes.c_void_p),
        ("base_code", ctypes.c_int32),
        ("model_code", ctypes.c_int32),
    )


class Delta:
    """A model's tensor against the base's: what is measured. Both contiguous, of one shape."""

    def __init__(self, base: Tensor, model: Tensor) -> None:
        self.base, self.model = base.contiguous(), model.contiguous()

    @property
    def numel(self) -> int:
        return self.model.numel()

    @property
    def columns(self) -> int:
        """Entries in a row: the last dimension."""
        return self.model.shape[-1] if self.model.dim() else 1

    def values(self, part: slice) -> NDArray[np.float32]:
        """Some of its entries, in fp32, flat."""
        model, base = (x.reshape(-1)[part].float() for x in (self.model, self.base))
        found: NDArray[np.float32] = (model - base).numpy()
        return found

    def bits(self) -> thresholds.Bits:
        """All magnitudes at once."""
        return thresholds.magnitudes(self.base, self.model)

    def cut(self, keep: int) -> Cut:
        """The cut that has exactly `keep` entries above it."""
        if keep <= 0 or self.numel == 0:
            return NOTHING
        if keep >= self.numel:
            return EVERYTHING
        library = self._library()
        if library is not None and _FEW <= self.numel < _MANY:
            return self._narrowed(library, keep)
        return thresholds.cut_at(self.bits(), keep)

    def upper_counts(self) -> NDArray[np.int64]:
        """How many magnitudes have each upper half, [2^16]: 16 of the 31 bits."""
        counts = np.zeros(1 << 16, np.uint32)
        library = self._library()
        if library is None or self.numel >= _MANY:
            counts += np.bincount(self.bits() >> _LOWER, minlength=1 << 16).astype(np.uint32)
        else:
            library.histogram(self._ref(), 0, self.numel, _LOWER, _at(counts))
        return counts.astype(np.int64)

    def in_bin(self, upper: int) -> tuple[thresholds.Bits, NDArray[np.int64]]:
        """Magnitudes with that upper half, and their places, in order."""
        low, high = _bin_bounds(upper)
        library = self._library()
        if library is None or self.numel >= _MANY:
            bits = self.bits()
            places = np.flatnonzero((bits >= low) & (bits <= high))
            return bits[places], places
        _, values, found = self._collect(library, low, high)
        return values.copy(), found.astype(np.int64)

    def magnitude_table(self) -> Table:
        """The cut of every grid density."""
        library = self._library()
        if library is None or not _FEW <= self.numel < _MANY:
            return thresholds.magnitude_table(self.bits())
        keeps, place = np.unique(grid_counts(self.numel), return_inverse=True)
        found, cutoffs = np.zeros(len(keeps), np.float32), np.zeros(len(keeps), np.int64)
        room = (
            scratch("counts", 1 << 20, np.uint32),
            scratch("slots", 1 << 20, np.uint16),
            scratch("lower", len(keeps) << 11, np.uint32),
            scratch("targets", len(keeps), np.uint32),
        )
        given = _at(keeps), len(keeps), _at(found), _at(cutoffs)
        library.table(self._ref(), self.numel, *given, *(_at(x) for x in room))
        table = np.zeros(len(place), TABLE)
        table["threshold"], table["cutoff"] = found[place], cutoffs[place]
        return table

    def band_share(self, low: Cut, high: Cut = NOTHING) -> float:
        """The share of the L1 norm above `low` and not above `high`."""
        library = self._library()
        if library is None:
            bits = self.bits()
            keep = thresholds.above(bits, low) & ~thresholds.above(bits, high)
            return share_of(thresholds.norm_of(bits, keep), thresholds.norm_of(bits))
        edges = np.array([low.threshold, high.threshold], np.float32).view(np.uint32)
        if low.threshold < 0:
            edges[0] = 0
        ends = np.array([low.cutoff, high.cutoff], np.int64)

        def norms(span: tuple[int, int], out: NDArray[np.float64]) -> None:
            library.band_norms(self._ref(), *span, BLOCK, _at(edges), _at(ends), _at(out))

        return self._share_by_blocks(norms)

    def random_share(self, key: tuple[int, int], density: float) -> float:
        """The share of the L1 norm that a random mask keeps."""
        library = self._library()
        if library is None:
            return thresholds.random_share(self.bits(), key, density)
        limit, keys = keep_limit(density), np.array(key, np.int32)

        def norms(span: tuple[int, int], out: NDArray[np.float64]) -> None:
            library.hash_norms(self._ref(), *span, BLOCK, limit, _at(keys), _at(out))

        return self._share_by_blocks(norms)

    def random_table(self, key: tuple[int, int]) -> Table:
        """The kept L1 norm of a random mask for every grid density."""
        library = self._library()
        if library is None:
            return thresholds.random_table(self.bits(), key)
        sums, keys = np.zeros(GRID + 2), np.array(key, np.int32)
        library.hash_sums(self._ref(), self.numel, GRID, _at(keys), _at(sums))
        table = np.zeros(GRID + 1, TABLE)
        table["kept"] = np.cumsum(sums[: GRID + 1])
        return table

    def levels(self, out: NDArray[np.uint8]) -> float:
        """Write the level of each entry's rank within its row, flat; their mean, weighted by magnitude."""
        columns, library = self.columns, self._library()
        if library is None or not 2 <= columns < _MANY:
            bits = self.bits()
            out[:] = row_masks.levels(bits, columns)
            total = thresholds.norm_of(bits)
            sizes = bits.view(np.float32).astype(np.float64)
            return float(sizes @ out) / total if total > 0 else 0.0
        norms = np.zeros((self.numel // columns, 2))

        def work(span: tuple[int, int]) -> bool:
            first, last = (edge // columns for edge in span)
            given = columns, first, last, _at(out), _at(norms)
            return bool(library.levels(self._ref(), *given))

        if not all(run_all(work, even_spans(self.numel, columns))):
            raise MemoryError("no memory for the ranks of a row")
        total, weighted = norms.sum(axis=0)
        return float(weighted / total) if total > 0 else 0.0

    def ranked_share(
        self, levels: NDArray[np.uint8], chances: row_masks.Chances, key: tuple[int, int]
    ) -> float:
        """The share of the L1 norm that a mask by rank keeps."""
        bits, mask = self.bits(), row_masks.ranked_mask(levels, chances, key)
        return share_of(thresholds.norm_of(bits, mask), thresholds.norm_of(bits))

    def _narrowed(self, library: ctypes.CDLL, keep: int) -> Cut:
        """The cut, looked for between two bounds that a sample gives; by bins where they miss it."""
        larger, values, places = self._collect(library, *self._bounds(library, keep))
        needed = keep - larger
        if not 0 < needed <= len(values):
            above = np.cumsum(self.upper_counts()[::-1])[::-1]
            upper = int(np.flatnonzero(above >= keep)[-1])
            needed = keep - int(above[upper + 1] if upper + 1 < len(above) else 0)
            _, values, places = self._collect(library, *_bin_bounds(upper))
        threshold, place = np.zeros(1, np.uint32), np.zeros(1, np.uint32)
        counts = scratch("bins", 4096, np.uint32)
        given = _at(values), _at(places), len(values), needed, _at(counts)
        library.nth(*given, _at(threshold), _at(place))
        return Cut(float(threshold.view(np.float32)[0]), int(place[0]) + 1)

    def _collect(
        self, library: ctypes.CDLL, low: int, high: int
    ) -> tuple[int, thresholds.Bits, NDArray[np.uint32]]:
        """How many magnitudes are larger than `high`; those from `low` to `high`, and their places.

        The arrays are scratch: they hold until the next call.
        """
        spans = even_spans(self.numel)
        values = scratch("values", self.numel + 16 * len(spans), np.uint32)
        places = scratch("places", self.numel + 16 * len(spans), np.uint32)

        def work(number: int) -> tuple[int, int]:
            start, end = spans[number]
            at, more = start + 16 * number, ctypes.c_int64()
            room = _at(values[at:]), _at(places[at:])
            count = library.collect(self._ref(), start, end, low, high, *room, ctypes.byref(more))
            return more.value, count

        parts = run_all(work, range(len(spans)))
        filled = parts[0][1]
        for number, (_, count) in list(enumerate(parts))[1:]:
            at = spans[number][0] + 16 * number
            for array in (values, places):
                array[filled : filled + count] = array[at : at + count]
            filled += count
        return sum(part[0] for part in parts), values[:filled], places[:filled]

    def _bounds(self, library: ctypes.CDLL, keep: int) -> tuple[int, int]:
        """Bit patterns that almost surely have the cut between them."""
        stride, steps = self.numel // _SAMPLES, np.arange(_SAMPLES, dtype=np.int64)
        # Places spread evenly, moved by a hash within their stride: no column is met again and again.
        places = steps * stride + steps * 0x9E3779B1 % (1 << 32) * stride // (1 << 32)
        drawn = np.empty(_SAMPLES, np.uint32)
        library.sample(self._ref(), _at(places), _SAMPLES, _at(drawn))
        drawn.sort()
        count, share = _SAMPLES, 1 - keep / self.numel
        slack = _SLACK * np.sqrt(count * share * (1 - share)) + 10
        first, last = int(count * share - slack), int(count * share + slack)
        low = 0 if first < 0 else int(drawn[first])
        high = 0x7FFFFFFF if last >= count else int(drawn[last])
        return low, high

    def _share_by_blocks(
        self, norms: Callable[[tuple[int, int], NDArray[np.float64]], None]
    ) -> float:
        def work(span: tuple[int, int]) -> NDArray[np.float64]:
            out = np.zeros((-(-(span[1] - span[0]) // BLOCK), 2))
            norms(span, out)
            return out

        total, kept = np.concatenate(run_all(work, even_spans(self.numel, BLOCK))).sum(axis=0)
        return share_of(float(kept), float(total))

    def _library(self) -> ctypes.CDLL | None:
        return _library_for([self.base, self.model])

    def _ref(self) -> Any:
        return ctypes.byref(
            _Delta(
                self.base.data_ptr(),
                self.model.data_ptr(),
                _CODES[self.base.dtype],
                _CODES[self.model.dtype],
            )
        )


def inner_products(
    tensors: Sequence[Tensor], base: Tensor | None, axis: int | None
) -> NDArray[np.float64]:
    """Inner products of tensors, or of what they add to `base`: see `thresholds.inner_products`."""
    everything = [*tensors, *([] if base is None else [base])]
    compiled = _library_for(everything) if len(tensors) <= 64 and axis != 0 else None
    if compiled is None or tensors[0].numel() == 0:
        return thresholds.inner_products(list(tensors), base, axis)
    kept = [x.contiguous() for x in everything]
    pointers = (ctypes.c_void_p * len(tensors))(*(x.data_ptr() for x in kept[: len(tensors)]))
    codes = (ctypes.c_int32 * len(tensors))(*(_CODES[x.dtype] for x in tensors))
    origin = (None, 0) if base is None else (kept[-1].data_ptr(), _CODES[base.dtype])
    block = BLOCK if axis is None else (tensors[0].shape or (1,))[-1]

    def work(span: tuple[int, int]) -> NDArray[np.float64]:
        blocks = -(-(span[1] - span[0]) // block)
        out = np.zeros((blocks, len(tensors), len(tensors)))
        compiled.dots(pointers, codes, len(tensors), *origin, *span, block, _at(out))
        return out

    found = np.concatenate(run_all(work, even_spans(tensors[0].numel(), block)))
    return found.sum(axis=0) if axis is None else found


def all_finite(tensor: Tensor) -> bool:
    """Whether a tensor holds neither NaN nor infinity."""
    compiled = _library_for([tensor])
    if compiled is None:
        return bool(tensor.isfinite().all())
    flat = tensor.contiguous()

    def work(span: tuple[int, int]) -> bool:
        return bool(compiled.all_finite(flat.data_ptr(), _CODES[flat.dtype], *span))

    return all(run_all(work, even_spans(flat.numel())))


def _bin_bounds(upper: int) -> tuple[int, int]:
    """The smallest and the largest magnitude of a bin."""
    return upper << _LOWER, ((upper + 1) << _LOWER) - 1


def _at(array: NDArray[Any]) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


def _library_for(tensors: Sequence[Tensor]) -> ctypes.CDLL | None:
    """The compiled passes, where they can read all of the tensors."""
    dtypes = {x.dtype for x in tensors}
    if not dtypes <= _CODES.keys() or any(x.device.type != "cpu" for x in tensors):
        return None
    found = library()
    halves = found is not None and torch.float16 in dtypes
    return None if halves and found is not None and not found.knows_half() else found


@cache
def library() -> ctypes.CDLL | None:
    """The compiled passes, or None where nothing can be compiled."""
    try:
        found = load(SOURCE)
    except CannotCompile:
        return None
    here, long, half = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
    delta = ctypes.POINTER(_Delta)
    found.all_finite.argtypes = [here, half, long, long]
    found.sample.argtypes = [delta, here, long, here]
    found.collect.argtypes = [delta, long, long, ctypes.c_uint32, ctypes.c_uint32, *[here] * 3]
    found.collect.restype = long
    found.band_norms.argtypes = [delta, long, long, long, here, here, here]
    found.hash_norms.argtypes = [delta, long, long, long, ctypes.c_uint32, here, here]
    found.hash_sums.argtypes = [delta, long, long, here, here]
    found.nth.argtypes = [here, here, long, long, here, here, here]
    found.table.argtypes = [delta, long, here, half, *[here] * 6]
    found.levels.argtypes = [delta, long, long, long, here, here]
    found.levels.restype = half
    found.dots.argtypes = [here, here, half, here, half, long, long, long, here]
    return found
