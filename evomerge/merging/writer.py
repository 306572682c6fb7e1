"""Writes what a model folder holds: safetensors shards as tensors come, then the small files beside them.

safetensors puts sizes before data, so the shapes of all tensors are declared first and their bytes follow
as they are computed; no tensor waits in memory.
"""

import json
import math
import os
import shutil
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from evomerge.merging.checkpoint import DTYPES

MAX_SHARD = 5_000_000_000
_SYNC_EVERY = 1 << 28
_SYNC = getattr(os, "fdatasync", os.fsync)
"""macOS and Windows have the latter alone."""
_NAMES = {dtype: name for name, dtype in DTYPES.items()}


@dataclass(frozen=True)
class Declared:
    """A tensor that will be written."""

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype

    @property
    def num_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def total_bytes(tensors: Iterable[Declared]) -> int:
    """Bytes of all tensors."""
    return sum(tensor.num_bytes for tensor in tensors)


def write_weights(
    folder: Path,
    declared: Sequence[Declared],
    tensors: Iterable[tuple[str, Tensor]],
    max_shard: int = MAX_SHARD,
) -> None:
    """Write `tensors`, which come in the order of `declared`, as shards and an index.

    A tensor is written while the next one is worked out, and may be overwritten by the one after it.
    """
    shards = list(_shards(declared, max_shard))
    names = _shard_names(len(shards))
    stream = iter(tensors)
    with ThreadPoolExecutor(1, "evomerge-write") as writing:
        for name, shard in zip(names, shards, strict=True):
            _write_shard(folder / name, shard, stream, writing)
    if next(stream, None) is not None:
        raise ValueError("more tensors than declared")
    if len(shards) > 1:
        weight_map = {
            tensor.name: name for name, shard in zip(names, shards, strict=True) for tensor in shard
        }
        index = {"metadata": {"total_size": total_bytes(declared)}, "weight_map": weight_map}
        write_json(folder / "model.safetensors.index.json", index)


def _shards(declared: Sequence[Declared], max_shard: int) -> Iterator[list[Declared]]:
    shard: list[Declared] = []
    for tensor in declared:
        if shard and total_bytes(shard) + tensor.num_bytes > max_shard:
            yield shard
            shard = []
        shard.append(tensor)
    yield shard


def _shard_names(count: int) -> list[str]:
    if count == 1:
        return ["model.safetensors"]
    return [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]


def _write_shard(
    file: Path,
    shard: Sequence[Declared],
    tensors: Iterator[tuple[str, Tensor]],
    writing: ThreadPoolExecutor,
) -> None:
    with file.open("wb") as stream:
        stream.write(_header(shard))
        last: Future[None] | None = None
        for expected in shard:
            name, tensor = next(tensors)
            if (name, tuple(tensor.shape), tensor.dtype) != (
                expected.name,
                expected.shape,
                expected.dtype,
            ):
                raise ValueError(f"tensor {name} is not the declared {expected}")
            if last is not None:
                last.result()
            last = writing.submit(_write_tensor, stream, tensor)
        if last is not None:
            last.result()
        stream.flush()
        os.fsync(stream.fileno())


def _header(shard: Sequence[Declared]) -> bytes:
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    offset = 0
    for tensor in shard:
        header[tensor.name] = {
            "dtype": _NAMES[tensor.dtype],
            "shape": list(tensor.shape),
            "data_offsets": [offset, offset + tensor.num_bytes],
        }
        offset += tensor.num_bytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text


def _write_tensor(stream: BinaryIO, tensor: Tensor) -> None:
    if not tensor.numel():
        return
    before = stream.tell()
    stream.write(tensor.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    # The disk shall begin while there is still something to work out, and not when all is done.
    if before // _SYNC_EVERY != stream.tell() // _SYNC_EVERY:
        stream.flush()
        _SYNC(stream.fileno())


def write_config(folder: Path, config: Mapping[str, Any], dtype: str | None) -> None:
    """config.json with the merged model's dtype."""
    changed = dict(config)
    for key in ("torch_dtype", "dtype"):
        if dtype is not None and key in changed:
            changed[key] = dtype
    if dtype is not None and not {"torch_dtype", "dtype"} & set(changed):
        changed["torch_dtype"] = dtype
    write_json(folder / "config.json", changed)


def copy_side_files(source: Path, folder: Path, names: Sequence[str]) -> None:
    """Copy the files of `names` that `source` has."""
    for name in names:
        if (source / name).is_file():
            shutil.copyfile(source / name, folder / name)


def write_json(file: Path, content: Any) -> None:
    """Write JSON for people."""
    file.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
