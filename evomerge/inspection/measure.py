"""One pass over the tensors of a base and its fine-tunes: norms, inner products, conflicts of sign.

A tensor of every model is in memory at a time, nothing else; each is read once. Sums are in fp64.
Signs are compared as TIES does (Yadav et al. 2023): of each task vector the top `density` of a
tensor's entries by magnitude stay, and of those one looks at the signs.

Shapes: M models, C entries of a chunk.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.headers import TensorInfo
from evomerge.layout import kind_of, layer_of
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.kernels import Cut
from evomerge.merging.measure import Delta
from evomerge.vocabulary import Tokens

_CHUNK = 1 << 18
"""Entries at a time: counts of so many are exact in fp32."""

Place = tuple[int | None, str]
"""Layer and kind; layer None outside of the layers."""
Matrix = NDArray[np.float64]
RowsOfTokens = NDArray[np.int64]


@dataclass
class Sums:
    """Sums over the entries of one place.

    base_square: Σ base². gram: Σ δi δj, [M, M]. magnitude: Σ |δ|, [M]. both: how many entries i and j
    keep, [M, M], with each one's own on the diagonal; opposed: of them, those with opposite signs.
    several: entries that two or more keep; mixed: of them, those on which signs differ.
    """

    models: int
    entries: int = 0
    base_square: float = 0.0
    several: int = 0
    mixed: int = 0
    gram: Matrix = field(init=False)
    magnitude: Matrix = field(init=False)
    both: Matrix = field(init=False)
    opposed: Matrix = field(init=False)

    def __post_init__(self) -> None:
        square = (self.models, self.models)
        self.gram, self.both, self.opposed = np.zeros(square), np.zeros(square), np.zeros(square)
        self.magnitude = np.zeros(self.models)

    def add(self, other: "Sums") -> None:
        """Take in the sums of other entries of the same models."""
        for name in ("entries", "base_square", "several", "mixed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in ("gram", "magnitude", "both", "opposed"):
            setattr(self, name, getattr(self, name) + getattr(other, name))


@dataclass(frozen=True)
class Task:
    """What is measured.

    names: the base's tensors that are looked at. rows: for tensors with a row for each token, the rows
    of the tokens that all models have, the base's first; None where rows mean the same in all.
    """

    base: Checkpoint
    models: Sequence[Checkpoint]
    names: Sequence[str]
    rows: Sequence[RowsOfTokens] | None
    density: float


def measure(task: Task, progress: Callable[[int, int], None] | None = None) -> Mapping[Place, Sums]:
    """The sums of every place. `progress` is told how many bytes of how many are done.

    Raises CheckpointError for tensors that cannot be read.
    """
    found: dict[Place, Sums] = {}
    infos = [task.base.index.tensors[name] for name in task.names]
    total, done = sum(info.end - info.start for info in infos), 0
    for info in infos:
        place = (layer_of(info.name), kind_of(info.name))
        sums = found.setdefault(place, Sums(len(task.models)))
        _add_tensor(task, info, sums)
        for model in (task.base, *task.models):
            model.release()
        done += info.end - info.start
        if progress is not None:
            progress(done, total)
    return found


def common_rows(vocabularies: Sequence[Tokens]) -> list[RowsOfTokens]:
    """For each vocabulary the rows of the tokens that all of them have, in the first one's order."""
    first, *others = vocabularies
    shared = sorted(
        (t for t in first if all(t in other for other in others)), key=first.__getitem__
    )
    return [np.array([tokens[t] for t in shared], np.int64) for tokens in vocabularies]


def _add_tensor(task: Task, info: TensorInfo, sums: Sums) -> None:
    tensors = list(_tensors(task, info))
    base, models = tensors[0], tensors[1:]
    keep = max(1, int(task.density * base.numel()))
    cuts = [Delta(base, model).cut(keep) for model in models]
    flat = [tensor.reshape(-1) for tensor in tensors]
    for start in range(0, base.numel(), _CHUNK):
        parts = [tensor[start : start + _CHUNK].float() for tensor in flat]
        _add_chunk(parts[0], torch.stack(parts[1:]), cuts, start, sums)


def _tensors(task: Task, info: TensorInfo) -> Iterator[Tensor]:
    """The tensor of every model, the base's first; rows of tokens brought into one order."""
    gathered = task.rows if info.name in task.base.index.vocabulary_tensors else None
    for number, model in enumerate((task.base, *task.models)):
        found = model.find(info.name)
        assert found is not None, "what cannot be compared was left out"
        tensor = model.tensor(found)
        yield tensor if gathered is None else tensor[torch.from_numpy(gathered[number])]


def _add_chunk(
    base_C: Tensor, models_MC: Tensor, cuts: Sequence[Cut], start: int, sums: Sums
) -> None:
    delta_MC = models_MC.sub_(base_C)
    kept_MC = torch.stack([_kept(x, cut, start) for x, cut in zip(delta_MC, cuts, strict=True)])
    up_MC, down_MC = kept_MC & (delta_MC > 0), kept_MC & (delta_MC < 0)
    agree = _products(up_MC.float()) + _products(down_MC.float())
    both = _products((up_MC | down_MC).float())
    ups_C, downs_C = up_MC.sum(0), down_MC.sum(0)
    several_C = ups_C + downs_C >= 2
    wide_MC = delta_MC.double()
    sums.entries += base_C.numel()
    sums.base_square += float(base_C.double().square().sum())
    sums.gram += _products(wide_MC)
    sums.magnitude += wide_MC.abs().sum(1).numpy()
    sums.both += both
    sums.opposed += both - agree
    sums.several += int(several_C.sum())
    sums.mixed += int((several_C & (ups_C > 0) & (downs_C > 0)).sum())


def _kept(delta_C: Tensor, cut: Cut, start: int) -> Tensor:
    """Which entries of a chunk lie above a cut of the whole tensor."""
    size_C = delta_C.abs()
    tied_C = size_C == cut.threshold
    tied_C[max(cut.cutoff - start, 0) :] = False
    return (size_C > cut.threshold) | tied_C


def _products(rows_MC: Tensor) -> Matrix:
    found: Matrix = (rows_MC @ rows_MC.T).double().numpy()
    return found
