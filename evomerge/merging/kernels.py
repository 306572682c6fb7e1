"""One pass over one chunk: read in any dtype, trim, combine in fp32, round once, look for overflow.

The same function runs eagerly on small chunks and, compiled for a GPU, over whole tensors, where
reading, masks, arithmetic and writing are fused (`native` does that on the CPU). Everything that
changes between candidates comes in as tensors, so that a new candidate never compiles again.

Shapes: C entries of a chunk, N models.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import torch
from torch import Tensor

from evomerge.merging.masks import hash_32, int32, is_below, key_at
from evomerge.methods import get_method
from evomerge.methods.arithmetic import linear_kernel, sum_kernel
from evomerge.methods.base import Inputs, Kernel

Step = Callable[..., Tensor]
FLOATS_PER_MODEL = 6
INTS_PER_MODEL = 6


class Select(StrEnum):
    """How a kernel finds out which entries of a delta take part."""

    ALL = "all"
    CUT = "cut"
    """Those above a threshold."""
    BAND = "band"
    """Those between two thresholds."""
    HASH = "hash"
    """Those whose index hashes below a limit."""
    RANK = "rank"
    """Those whose index hashes below a limit that grows with their level, which comes in beside the delta."""
    MASK = "mask"
    """Those that a mask names, which comes in beside the delta."""


@dataclass(frozen=True)
class Variant:
    """What a kernel is compiled for; everything else may change freely.

    `relative`: the models are combined as deltas. `selects` has one entry a model.
    """

    method: str
    relative: bool
    selects: tuple[Select, ...]
    normalize: bool = False
    mixed_signs: bool = False
    vote: str = "sum"

    @property
    def models(self) -> int:
        return len(self.selects)


@dataclass(frozen=True)
class Cut:
    """A place in a delta's entries ranked by magnitude, equal ones by index, lowest first.

    Above it are the entries with |δ| > threshold, and those equal to it with an index < cutoff.
    """

    threshold: float
    cutoff: int


EVERYTHING = Cut(-1.0, 0)
NOTHING = Cut(float("inf"), 0)


@dataclass(frozen=True)
class Knobs:
    """The scalars of one model on one tensor: kept is what is above `low` and not above `high`.

    An entry that is kept by chance is so with `limit` + `step` · its level, in units of 2^-32.
    """

    weight: float
    coefficient: float
    low: Cut = EVERYTHING
    high: Cut = NOTHING
    limit: int = 0
    key: tuple[int, int] = (0, 0)
    step: int = 0


def pack_floats(models: Sequence[Knobs], divisor: float, scale: float) -> Tensor:
    """fp32 [6 N + 2]: for each model weight, coefficient, both thresholds and the floats next to
    them; divisor, lambda."""
    own = [
        value
        for knobs in models
        for value in (
            knobs.weight,
            knobs.coefficient,
            *(knobs.low.threshold, _next(knobs.low.threshold)),
            *(knobs.high.threshold, _next(knobs.high.threshold)),
        )
    ]
    return torch.tensor([*own, divisor, scale], dtype=torch.float32)


def _next(threshold: float) -> float:
    return float(np.nextafter(np.float32(threshold), np.float32(np.inf)))


def pack_ints(models: Sequence[Knobs], start: int, count: int) -> Tensor:
    """int32 [6 N + 1] for the chunk at `start`: cutoffs in it, limit, keys, step; then `start`.

    `start` is a multiple of the power-of-two chunk size, so its upper half is one for the chunk and
    is folded into the keys.
    """
    own = [
        value
        for knobs in models
        for value in (
            min(max(knobs.low.cutoff - start, 0), count),
            min(max(knobs.high.cutoff - start, 0), count),
            int32(knobs.limit),
            *key_at(knobs.key, start >> 32),
            int32(knobs.step),
        )
    ]
    return torch.tensor([*own, int32(start)], dtype=torch.int32)


def kernel_of(variant: Variant) -> Kernel:
    """The method's sum; of deltas, added to the base, where it combines whole models without one."""
    kernel = get_method(variant.method).kernel
    assert kernel is not None, variant.method
    return sum_kernel if kernel is linear_kernel and variant.relative else kernel


def make_step(variant: Variant) -> Step:
    """The pass for one variant: (base_C, models, masks, out_C, floats, ints, index_C) → peak.

    Writes the merged chunk to `out_C` in its dtype; returns the largest magnitude before rounding
    (NaN where one occurs), 0-d fp32. `masks` has a tensor [C] for each model that is selected by
    mask (bool, or factors in fp32) or by rank (levels in uint8). `index_C` is int32 0 … C−1, or
    None to make it on the way.
    """
    kernel = kernel_of(variant)

    def step(
        base_C: Tensor | None,
        models: list[Tensor],
        masks: list[Tensor | None],
        out_C: Tensor,
        floats: Tensor,
        ints: Tensor,
        index_C: Tensor | None,
    ) -> Tensor:
        origin_C = None if base_C is None else base_C.float()
        parts = [model_C.float() for model_C in models]
        if variant.relative and origin_C is not None:
            parts = [part_C - origin_C for part_C in parts]
        keeps = _keeps(variant, parts, masks, floats, ints, index_C)
        inputs = Inputs(
            base_C=origin_C,
            models=parts,
            keeps=keeps,
            weights=[floats[FLOATS_PER_MODEL * i] for i in range(len(models))],
            coefficients=[floats[FLOATS_PER_MODEL * i + 1] for i in range(len(models))],
            divisor=floats[-2],
            scale=floats[-1],
            normalize=variant.normalize,
            mixed_signs=variant.mixed_signs,
            vote=variant.vote,
        )
        merged_C: Tensor = kernel(inputs)
        out_C.copy_(merged_C)
        return merged_C.abs().amax()

    return step


def _keeps(
    variant: Variant,
    deltas: list[Tensor],
    masks: list[Tensor | None],
    floats: Tensor,
    ints: Tensor,
    index_C: Tensor | None,
) -> list[Tensor | None]:
    if index_C is None:
        index_C = torch.arange(deltas[0].shape[0], dtype=torch.int32, device=deltas[0].device)
    keeps: list[Tensor | None] = []
    for i, (select, delta_C) in enumerate(zip(variant.selects, deltas, strict=True)):
        scalars = floats[FLOATS_PER_MODEL * i : FLOATS_PER_MODEL * (i + 1)]
        own = ints[INTS_PER_MODEL * i : INTS_PER_MODEL * (i + 1)]
        if select is Select.ALL:
            keeps.append(None)
        elif select is Select.MASK:
            keeps.append(masks[i])
        elif select in {Select.HASH, Select.RANK}:
            level_C = masks[i]
            limit = own[2] if level_C is None else own[2] + own[5] * level_C.to(torch.int32)
            keeps.append(is_below(hash_32(index_C + ints[-1], own[3], own[4]), limit))
        else:
            keep_C = _above(delta_C, index_C, scalars[2], scalars[3], own[0])
            if select is Select.BAND:
                keep_C &= ~_above(delta_C, index_C, scalars[4], scalars[5], own[1])
            keeps.append(keep_C)
    return keeps


def _above(delta_C: Tensor, index_C: Tensor, at: Tensor, above: Tensor, cutoff: Tensor) -> Tensor:
    # Ties below the cutoff are kept, above it they are not: one comparison does for both.
    return delta_C.abs() >= at.where(index_C < cutoff, above)
