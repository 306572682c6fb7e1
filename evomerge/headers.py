"""Headers of safetensors files and JSON beside them: what lies where, without reading a weight."""

import json
import math
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomerge.errors import CheckpointError

FLOAT_DTYPES = ("F64", "F32", "F16", "BF16")
_ITEM_SIZES = {
    "F64": 8,
    "F32": 4,
    "F16": 2,
    "BF16": 2,
    "I64": 8,
    "I32": 4,
    "I16": 2,
    "I8": 1,
    "U8": 1,
    "BOOL": 1,
}
_MAX_HEADER = 100_000_000


@dataclass(frozen=True)
class TensorInfo:
    """Where one tensor lies: `dtype` as safetensors spells it, `start`/`end` absolute byte offsets."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: Path
    start: int
    end: int

    @property
    def numel(self) -> int:
        return math.prod(self.shape)


def load_json(file: Path) -> dict[str, Any]:
    """The mapping in a JSON file. Raises CheckpointError where there is none."""
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"))
        if not isinstance(loaded, dict):
            raise ValueError("holds no mapping")
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"cannot be read as JSON ({error})", where=str(file), remedy="download the model again"
        ) from error
    return loaded


def read_header(file: Path) -> list[TensorInfo]:
    """Every tensor of a safetensors file. Raises CheckpointError for a broken one."""
    size = file.stat().st_size
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(size - 8, _MAX_HEADER):
                raise ValueError("header longer than the file")
            header = json.loads(stream.read(length))
        header.pop("__metadata__", None)
        infos = [_tensor_info(file, name, entry, 8 + length) for name, entry in header.items()]
    except (OSError, ValueError, struct.error, AttributeError, KeyError, TypeError) as error:
        raise broken_file(file, f"not a readable safetensors file ({error})") from error
    if any(info.end > size for info in infos):
        raise broken_file(file, f"truncated: {size:,} bytes, its header promises more")
    return infos


def _tensor_info(file: Path, name: str, entry: dict[str, Any], offset: int) -> TensorInfo:
    start, end = (int(place) for place in entry["data_offsets"])
    shape = tuple(int(side) for side in entry["shape"])
    info = TensorInfo(name, entry["dtype"], shape, file, offset + start, offset + end)
    size = _ITEM_SIZES.get(info.dtype)
    if start < 0 or end < start or (size is not None and end - start != size * info.numel):
        raise ValueError(f"{name}: {end - start} bytes for {info.dtype} of shape {list(shape)}")
    return info


def broken_file(file: Path, problem: str) -> CheckpointError:
    """The error for a file that does not hold what it should."""
    return CheckpointError(problem, where=str(file), remedy="download or copy the file again")
