"""A checkpoint in the vocabulary of a merge: the rows of embedding and head stand where its tokens do.

Everything downstream sees tensors of one shape. Rows are gathered whenever a tensor is asked for.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.errors import CheckpointError
from evomerge.headers import TensorInfo
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.rows import AVERAGE, PADDING, Rows

Mask = NDArray[np.bool_]


class AlignedCheckpoint(Checkpoint):
    """Model `number` of `models`, with its rows as `rows` says."""

    def __init__(self, models: Sequence[Checkpoint], number: int, rows: Rows) -> None:
        inner = models[number].index
        count = rows.own_MR.shape[1]
        names = inner.vocabulary_tensors
        aligned = {
            name: replace(inner.tensors[name], shape=(count, *inner.tensors[name].shape[1:]))
            for name in names
        }
        super().__init__(replace(inner, tensors={**inner.tensors, **aligned}))
        self._inner = models[number]
        self._models = models
        self._number = number
        self._rows = rows
        self._own = rows.own_MR[number]
        self._names = frozenset(names)
        self._digest = _digest(rows, self._own)

    def tensor(self, info: TensorInfo) -> Tensor:
        if info.name not in self._names:
            return self._inner.tensor(info)
        lacking = self._own < 0
        old = self._inner.tensor(self._inner.index.tensors[info.name])
        donors = {number: self._donor(number, info) for number in self._fillers(lacking)}
        dtype = self._dtype([old, *donors.values()], lacking)
        made = torch.zeros(info.shape, dtype=dtype)
        _put(made, ~lacking, old, self._own)
        for number, donor in donors.items():
            _put(made, lacking & (self._rows.donor_R == number), donor, self._rows.donor_row_R)
        self._average(made, lacking & (self._rows.donor_R == AVERAGE), donors)
        spare = lacking & (self._rows.donor_R == PADDING)
        if spare.any():
            made[torch.from_numpy(spare)] = made[torch.from_numpy(~spare)].mean(dim=0)
        return made

    def rows(self, info: TensorInfo) -> NDArray[np.int64] | None:
        return self._own if info.name in self._names else None

    def fingerprint(self, info: TensorInfo) -> str:
        if info.name not in self._names:
            return self._inner.fingerprint(info)
        pieces = [
            model.fingerprint(found) for model in self._models if (found := model.find(info.name))
        ]
        return repr((self._digest, self._number, *pieces))

    def _fillers(self, lacking: Mask) -> list[int]:
        """The models that rows are taken from."""
        donor = self._rows.donor_R[lacking]
        if (donor == AVERAGE).any():
            return list(range(len(self._models)))
        return sorted({int(number) for number in np.unique(donor) if number >= 0})

    def _donor(self, number: int, info: TensorInfo) -> Tensor:
        model = self._models[number]
        found = model.find(info.name)
        if found is None or found.shape[1:] != info.shape[1:]:
            has = "no such tensor" if found is None else f"rows of {list(found.shape[1:])}"
            raise CheckpointError(
                f"rows of {info.name!r} cannot be taken from it: {has}, not {list(info.shape[1:])}",
                where=model.index.name,
                remedy="merge fine-tunes of one base model only",
            )
        return model.tensor(found)

    def _dtype(self, tensors: Sequence[Tensor], lacking: Mask) -> torch.dtype:
        """The models' own, and fp32 where rows are worked out or the models' differ."""
        means = np.isin(self._rows.donor_R[lacking], (AVERAGE, PADDING)).any()
        kinds = {tensor.dtype for tensor in tensors}
        return torch.float32 if means or len(kinds) > 1 else tensors[0].dtype

    def _average(self, made: Tensor, chosen: Mask, donors: dict[int, Tensor]) -> None:
        if not chosen.any():
            return
        known = self._rows.known_MR
        total = made[torch.from_numpy(chosen)]
        for number, donor in donors.items():
            has = known[number, chosen] >= 0
            rows = torch.from_numpy(known[number, chosen][has])
            total[torch.from_numpy(has)] += donor[rows].float()
        count = torch.from_numpy((known[:, chosen] >= 0).sum(axis=0))
        made[torch.from_numpy(chosen)] = total / count.view(-1, *[1] * (total.dim() - 1))


def _put(made: Tensor, chosen: Mask, source: Tensor, rows: NDArray[np.int64]) -> None:
    places = torch.from_numpy(np.flatnonzero(chosen))
    made[places] = source[torch.from_numpy(rows[chosen])].to(made.dtype)


def _digest(rows: Rows, own: NDArray[np.int64]) -> str:
    total = hashlib.sha256()
    for array in (own, rows.known_MR, rows.donor_R, rows.donor_row_R):
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]
