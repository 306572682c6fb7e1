"""Looks for NaN and infinity in a checkpoint at memory speed, without torch.

A float is not finite when all bits of its exponent are set; that can be seen in the raw integers.
Finished checks are remembered by fingerprint, so that each checkpoint is read once.
"""

from collections.abc import Iterator

import numpy as np

from evomerge.errors import CheckpointError
from evomerge.layout import CheckpointIndex, TensorInfo
from evomerge.preflight.fingerprint import fingerprint, remember
from evomerge.resources import cache_folder

_EXPONENTS = {
    "F64": (np.uint64, 0x7FF0000000000000),
    "F32": (np.uint32, 0x7F800000),
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
}
_CHUNK = 1 << 22


def find_non_finite(index: CheckpointIndex) -> Iterator[CheckpointError]:
    """One error for a checkpoint that holds NaN or infinity, naming the tensors."""
    mark = cache_folder() / "finite" / fingerprint(index)
    if mark.is_file():
        return
    bad = [info.name for info in index.tensors.values() if not is_finite(info)]
    if bad:
        more = f" and {len(bad) - 3} more tensors" if len(bad) > 3 else ""
        yield CheckpointError(
            f"holds NaN or infinity in {', '.join(bad[:3])}{more}",
            where=str(index.path),
            remedy="this fine-tune is broken: leave it out, or take an earlier checkpoint of it",
        )
        return
    remember(mark, "finite")


def is_finite(info: TensorInfo) -> bool:
    """Whether every value of a tensor is finite; True for integers."""
    if info.dtype not in _EXPONENTS or info.numel == 0:
        return True
    dtype, exponent = _EXPONENTS[info.dtype]
    raw = np.memmap(
        info.file, dtype=np.uint8, mode="r", offset=info.start, shape=(info.end - info.start,)
    )
    values = raw.view(dtype) if info.start % raw.itemsize == 0 else np.frombuffer(raw, dtype)
    mask = dtype(exponent)
    return not any(
        np.any((values[place : place + _CHUNK] & mask) == mask)
        for place in range(0, len(values), _CHUNK)
    )
