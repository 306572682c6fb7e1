"""The fused pass in C: one loop that reads, trims, combines, rounds and writes, for the CPU.

torch.compile could fuse the same arithmetic, but takes 10 to 20 seconds for it, runs 2.3 times
slower here (its vectors hold masks as numbers) and costs 60 µs a call. A C compiler needs 0.2 s.
The arithmetic is the eager kernels', operation by operation, without contraction or reordering, so
both give the same bits. Source: `csource`.
"""

import ctypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evomerge.merging.compiler import CannotCompile, load
from evomerge.merging.csource import CODES, Loop, source
from evomerge.merging.kernels import Knobs, Select, Variant
from evomerge.merging.regions import Region
from evomerge.merging.threads import even_spans, start_all

_HALF = torch.float16


@dataclass(frozen=True)
class Job:
    """One tensor's merge, or a part's. Tensors are flat and contiguous; `masks` has one entry a model.

    Inputs and masks are whole, `out` has the entries of the region.
    """

    variant: Variant
    knobs: Sequence[Knobs]
    base: Tensor | None
    models: Sequence[Tensor]
    masks: Sequence[Tensor | None]
    out: Tensor
    floats: Tensor
    region: Region

    @property
    def inputs(self) -> list[Tensor]:
        """What the loop reads, in the order of its pointers."""
        masks = [mask for mask in self.masks if mask is not None]
        return [*([] if self.base is None else [self.base]), *self.models, *masks]


def supports(job: Job) -> bool:
    """Whether the C loop reads and writes these dtypes on this device, and knows the method."""
    tensors = [*job.models, job.out, *([] if job.base is None else [job.base])]
    known = all(x.dtype in CODES and x.device.type == "cpu" for x in tensors)
    factors = any(mask is not None and mask.is_floating_point() for mask in job.masks)
    return known and not factors and Loop.knows(job.variant)


def start(job: Job) -> Callable[[], float]:
    """Begin to merge one tensor. What is returned waits for it, and gives the largest magnitude, NaN
    where one occurs. Raises CannotCompile.
    """
    given = [*([] if job.base is None else [job.base]), *job.models]
    call = _function(job.variant, tuple(x.dtype for x in given), job.out.dtype)
    ints = _ints(job.knobs)
    inputs = job.inputs

    def work(part: tuple[Region, int]) -> float:
        region, written = part
        places = [x.data_ptr() + region.first * x.itemsize for x in inputs]
        array = (ctypes.c_void_p * len(places))(*places)
        target = job.out.data_ptr() + written * job.out.itemsize
        shape = region.rows, region.width, region.stride, region.first
        return float(call(*shape, array, target, job.floats.data_ptr(), ints))

    peaks = start_all(work, list(_parts(job.region)))
    return lambda: float(np.max(peaks()))


def _parts(region: Region) -> Iterator[tuple[Region, int]]:
    """A region cut up for the threads: parts, and how many entries are written before each."""
    for start, end in even_spans(region.numel, 64 if region.rows == 1 else region.width):
        if region.rows == 1:
            yield Region(1, end - start, end - start, region.first + start), start
        else:
            first, last = start // region.width, end // region.width
            yield replace(region, rows=last - first, first=region.row(first)), start


def _ints(knobs: Sequence[Knobs]) -> Any:
    """int64 [6 N]: both cutoffs, limit, keys and step of each model."""
    values = [
        value
        for one in knobs
        for value in (one.low.cutoff, one.high.cutoff, one.limit, *one.key, one.step)
    ]
    return (ctypes.c_int64 * max(len(values), 1))(*values)


@cache
def _function(variant: Variant, inputs: tuple[torch.dtype, ...], out: torch.dtype) -> Any:
    library = load(source(Loop.of(variant, inputs, out)))
    library.run.restype = ctypes.c_float
    pointer = ctypes.c_void_p
    library.run.argtypes = [*[ctypes.c_int64] * 4, *[pointer] * 4]
    return library.run


__all__ = ["CannotCompile", "Job", "Select", "start", "supports"]
