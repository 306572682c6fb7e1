"""One pass over one chunk: read in any dtype, trim, combine in fp32, round once, look for overflow.

The same function runs eagerly on small chunks and, compiled for a GPU, over whole tensors, where
reading, masks, arithmetic and writing are fused (`native` does that on the CPU). Everything that
changes between candidates comes in as tensors, so that a new candidate never compiles again.

Shapes: C entries of a chunk, N models.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from evomerge.merging.masks import hash_31
from evomerge.methods import Trim, get_method
from evomerge.methods.base import Inputs

Step = Callable[..., Tensor]
FLOATS_PER_MODEL = 4
INTS_PER_MODEL = 4


@dataclass(frozen=True)
class Variant:
    """What a kernel is compiled for; everything else may change freely."""

    method: str
    models: int
    normalize: bool
    mixed_signs: bool = False


@dataclass(frozen=True)
class Knobs:
    """The scalars of one model on one tensor."""

    weight: float
    coefficient: float
    threshold: float = -1.0
    cutoff: int = 0
    limit: int = 0
    key: tuple[int, int] = (0, 0)


def pack_floats(models: Sequence[Knobs], divisor: float, scale: float) -> Tensor:
    """fp32 [4 N + 2]: weight, coefficient, threshold, next float for each model, divisor, lambda."""
    own = [
        value
        for knobs in models
        for value in (knobs.weight, knobs.coefficient, knobs.threshold, _next(knobs.threshold))
    ]
    return torch.tensor([*own, divisor, scale], dtype=torch.float32)


def _next(threshold: float) -> float:
    return float(np.nextafter(np.float32(threshold), np.float32(np.inf)))


def pack_ints(models: Sequence[Knobs], start: int, count: int) -> Tensor:
    """int32 [4 N + 1] for the chunk at `start`: cutoff in the chunk, limit, keys; then `start`.

    `start` is a multiple of the power-of-two chunk size, so its upper half is one for the chunk and
    can be folded into the second key.
    """
    high = start >> 32
    own = [
        value
        for knobs in models
        for value in (
            min(max(knobs.cutoff - start, 0), count),
            knobs.limit,
            knobs.key[0],
            knobs.key[1] ^ high,
        )
    ]
    low = start & 0xFFFFFFFF
    return torch.tensor([*own, low - (1 << 32) if low >> 31 else low], dtype=torch.int32)


def make_step(variant: Variant) -> Step:
    """The pass for one variant: (base_C, models, out_C, floats, ints, index_C) → peak.

    Writes the merged chunk to `out_C` in its dtype; returns the largest magnitude before rounding
    (NaN where one occurs), 0-d fp32. `index_C` is int32 0 … C−1, or None to make it on the way.
    """
    method = get_method(variant.method)
    relative = method.base == "required"

    def step(
        base_C: Tensor | None,
        models: list[Tensor],
        out_C: Tensor,
        floats: Tensor,
        ints: Tensor,
        index_C: Tensor | None,
    ) -> Tensor:
        origin_C = None if base_C is None else base_C.float()
        parts = [model_C.float() for model_C in models]
        if relative and origin_C is not None:
            parts = [part_C - origin_C for part_C in parts]
        keeps = _keeps(method.trim, parts, floats, ints, index_C)
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
        )
        merged_C: Tensor = method.kernel(inputs)
        out_C.copy_(merged_C)
        return merged_C.abs().amax()

    return step


def _keeps(
    trim: Trim, deltas: list[Tensor], floats: Tensor, ints: Tensor, index_C: Tensor | None
) -> list[Tensor | None]:
    if trim is Trim.NONE:
        return [None] * len(deltas)
    if index_C is None:
        index_C = torch.arange(deltas[0].shape[0], dtype=torch.int32, device=deltas[0].device)
    keeps: list[Tensor | None] = []
    for i, delta_C in enumerate(deltas):
        own = ints[INTS_PER_MODEL * i : INTS_PER_MODEL * (i + 1)]
        if trim is Trim.MAGNITUDE:
            # Ties below the cutoff are kept, above it they are not: one comparison does for both.
            at, above = floats[FLOATS_PER_MODEL * i + 2], floats[FLOATS_PER_MODEL * i + 3]
            keeps.append(delta_C.abs() >= at.where(index_C < own[0], above))
        else:
            keeps.append(hash_31(index_C + ints[-1], own[2], own[3]) <= own[1])
    return keeps
