"""NaN and infinity in a checkpoint, found once and remembered: a merge would spread or hide them."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evomerge.errors import CheckpointError
from evomerge.layout import FLOAT_DTYPES, TensorInfo
from evomerge.merging.checkpoint import Checkpoint, open_checkpoint
from evomerge.merging.statistics import StatisticsCache

_BLOCK = 1 << 22


def check_finite(path: Path, cache: StatisticsCache | None = None) -> None:
    """Raise CheckpointError naming the first tensor of `path` that holds NaN or infinity."""
    ensure_finite(open_checkpoint(path), cache or StatisticsCache())


def ensure_finite(checkpoint: Checkpoint, cache: StatisticsCache) -> None:
    """The same for an opened checkpoint. Reads every weight once; later calls read the cache."""
    infos = sorted(checkpoint.index.tensors.values(), key=lambda info: info.name)
    floats = [info for info in infos if info.dtype in FLOAT_DTYPES]
    prints = [checkpoint.fingerprint(info) for info in floats]
    found = cache.get(("finite", *prints), lambda: _finite_flags(checkpoint, floats))
    broken = [info for info, good in zip(floats, found, strict=True) if not good]
    if broken:
        raise CheckpointError(
            f"tensor {broken[0].name!r} holds NaN or infinity"
            + (f", and {len(broken) - 1} more" if len(broken) > 1 else ""),
            where=str(broken[0].file),
            remedy="use an earlier checkpoint of this model; this one cannot be merged",
        )


def _finite_flags(
    checkpoint: Checkpoint, infos: list[TensorInfo]
) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    return np.array([_finite(checkpoint.tensor(info)) for info in infos], bool)


def _finite(tensor: Tensor) -> bool:
    flat = tensor.reshape(-1)
    for start in range(0, flat.numel(), _BLOCK):
        part = flat[start : start + _BLOCK]
        # The sum is finite for all finite weights that are not absurdly large: then look closely.
        if not torch.isfinite(part.sum(dtype=torch.float32)) and not torch.isfinite(part).all():
            return False
    return True
