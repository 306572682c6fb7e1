"""NaN and infinity in a checkpoint, found once and remembered: a merge would spread or hide them.

A float is not finite when all bits of its exponent are set, which the raw integers show: checked at
memory speed, without torch, so that preflight can do it too.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from evomerge.errors import CheckpointError
from evomerge.layout import CheckpointIndex, TensorInfo, read_index
from evomerge.merging.statistics import StatisticsCache

_EXPONENTS: dict[str, tuple[type[np.unsignedinteger], int]] = {
    "F64": (np.uint64, 0x7FF0000000000000),
    "F32": (np.uint32, 0x7F800000),
    "F16": (np.uint16, 0x7C00),
    "BF16": (np.uint16, 0x7F80),
}
_BLOCK = 1 << 22


def check_finite(path: Path, cache: StatisticsCache | None = None) -> None:
    """Raise CheckpointError naming the first tensor of `path` that holds NaN or infinity."""
    ensure_finite(read_index(path), cache or StatisticsCache())


def ensure_finite(index: CheckpointIndex, cache: StatisticsCache) -> None:
    """The same for headers already read. Reads every weight once; later calls read the cache."""
    for stored in index.stored:
        _ensure_finite(stored, cache)


def _ensure_finite(index: CheckpointIndex, cache: StatisticsCache) -> None:
    infos = sorted(index.tensors.values(), key=lambda info: info.name)
    floats = [info for info in infos if info.dtype in _EXPONENTS]
    key = ("finite", *(_print(file) for file in sorted({info.file for info in floats})))
    found = cache.get(key, lambda: _finite_flags(floats))
    broken = [info for info, good in zip(floats, found, strict=True) if not good]
    if broken:
        raise nonfinite_error(broken)


def nonfinite_error(broken: list[TensorInfo], model: str | None = None) -> CheckpointError:
    """These tensors, of a file or of a model made of several, cannot be merged."""
    return CheckpointError(
        f"tensor {broken[0].name!r} holds NaN or infinity"
        + (f", and {len(broken) - 1} more" if len(broken) > 1 else ""),
        where=model or str(broken[0].file),
        remedy="leave this model out, or use an earlier checkpoint of it",
    )


def _print(file: Path) -> tuple[str, int, int]:
    status = file.stat()
    return str(file.resolve()), status.st_size, status.st_mtime_ns


def _finite_flags(infos: list[TensorInfo]) -> NDArray[np.bool_]:
    return np.array([is_finite(info) for info in infos], bool)


def is_finite(info: TensorInfo) -> bool:
    """Whether every value of a float tensor is finite."""
    if info.numel == 0:
        return True
    dtype, exponent = _EXPONENTS[info.dtype]
    size = info.end - info.start
    raw = np.memmap(info.file, dtype=np.uint8, mode="r", offset=info.start, shape=(size,))
    values, mask = raw.view(dtype), dtype(exponent)
    blocks = range(0, len(values), _BLOCK)
    return not any(((values[at : at + _BLOCK] & mask) == mask).any() for at in blocks)
