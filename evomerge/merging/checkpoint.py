"""The tensors of a checkpoint as memory-mapped views: nothing is copied, nothing can be overwritten.

All processes of a node that open the same file share its pages. The mapping is copy-on-write, so
that even a faulty kernel could never change the file.
"""

import mmap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.errors import CheckpointError
from evomerge.layout import CheckpointIndex, TensorInfo, kind_of, read_index
from evomerge.merging.pages import bring_in, let_go

DTYPES: dict[str, torch.dtype] = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}
"""safetensors' spelling of the dtypes that can be merged or copied."""


@dataclass
class Checkpoint:
    """An opened model folder. `tensor(info)` is a view into the mapped file.

    Merges ask `index`, `find`, `tensor`, `rows` and `fingerprint` of a model and nothing else, so that
    a subclass can stand for one that lies in no folder: with an adapter, with another vocabulary.
    """

    index: CheckpointIndex
    _maps: dict[Path, mmap.mmap] = field(default_factory=dict)
    _marks: dict[Path, str] = field(default_factory=dict)
    _here: dict[str, TensorInfo] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        return self.index.path

    @property
    def tied(self) -> bool:
        """Whether the output head is the embedding matrix."""
        return bool(self.index.config.get("tie_word_embeddings", False))

    def find(self, name: str) -> TensorInfo | None:
        """The tensor of that name; for the head of a tied model its embedding; None without one."""
        info = self.index.tensors.get(name)
        if info is None and self.tied and kind_of(name) == "head":
            return self.index.embedding
        return info

    def tensor(self, info: TensorInfo) -> Tensor:
        """A tensor that must not be written to: a view of the mapped file, or worked out from it."""
        dtype = dtype_of(info)
        if info.numel == 0:
            return torch.empty(info.shape, dtype=dtype)
        mapped = self._map(info.file)
        if info.name not in self._here:
            bring_in(mapped, info.start, info.end)
            self._here[info.name] = info
        flat = torch.frombuffer(mapped, dtype=dtype, count=info.numel, offset=info.start)
        return flat.view(info.shape)

    def rows(self, info: TensorInfo) -> NDArray[np.int64] | None:
        """For each row of `tensor(info)` the stored row it is, −1 for none; None where none has moved."""
        del info
        return None

    def release(self) -> None:
        """Let go of the pages of every tensor read so far: a merge of a large model stays small."""
        for info in self._here.values():
            let_go(self._map(info.file), info.start, info.end)
        self._here.clear()

    def tensors(self) -> Iterator[tuple[str, Tensor]]:
        """Every tensor, sorted by name."""
        for name in sorted(self.index.tensors):
            yield name, self.tensor(self.index.tensors[name])

    def fingerprint(self, info: TensorInfo) -> str:
        """Names a stored tensor: file, size and modification time when first asked, offsets."""
        if info.file not in self._marks:
            status = info.file.stat()
            mark = f"{info.file.resolve()}:{status.st_size}:{status.st_mtime_ns}"
            self._marks[info.file] = mark
        return f"{self._marks[info.file]}:{info.start}:{info.end}"

    def _map(self, file: Path) -> mmap.mmap:
        if file not in self._maps:
            try:
                with file.open("rb") as stream:
                    self._maps[file] = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_COPY)
            except OSError as error:
                raise CheckpointError(
                    f"cannot be mapped into memory ({error})",
                    where=str(file),
                    remedy="check that the file can be read, or copy it to a local disk",
                ) from error
        return self._maps[file]


def open_checkpoint(path: Path) -> Checkpoint:
    """Open the model folder at `path`. Raises CheckpointError where it cannot be used."""
    return Checkpoint(read_index(path))


def dtype_of(info: TensorInfo) -> torch.dtype:
    """torch's dtype of a tensor. Raises CheckpointError for quantised and unknown ones."""
    if info.dtype not in DTYPES:
        raise CheckpointError(
            f"tensor {info.name!r} has dtype {info.dtype}, which cannot be merged",
            where=str(info.file),
            remedy="use the unquantised weights (float32, float16 or bfloat16) of the model",
        )
    return DTYPES[info.dtype]
