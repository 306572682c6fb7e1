"""A checkpoint with an adapter on it: W + scale · B A, worked out in fp32 whenever a tensor is asked for.

Folded into a bf16 checkpoint first, an adapter loses a third of itself to rounding; here it is rounded
once, with the merge. No adapted model is ever held: one tensor at a time is.
"""

from torch import Tensor

from evomerge.headers import TensorInfo
from evomerge.merging.adapter import adapted_index
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.lora import Change, LowRank, changes_of
from evomerge.merging.scratch import Scratch


class AdaptedCheckpoint(Checkpoint):
    """`base` as `adapter` leaves it. Changed tensors come as fp32, the others as views of the base.

    Raises CheckpointError where the adapter does not fit.
    """

    def __init__(self, base: Checkpoint, adapter: Checkpoint) -> None:
        super().__init__(adapted_index(base.index, adapter.index))
        self._base = base
        self._adapter = adapter
        self._changes = changes_of(base.index, adapter.index)
        self._scratch = Scratch()

    def tensor(self, info: TensorInfo) -> Tensor:
        change = self._changes.get(info.name)
        if change is None:
            return self._base.tensor(info)
        start = (
            self._base.tensor(info) if change.full is None else self._adapter.tensor(change.full)
        )
        weight = self._scratch.copy_of(start)
        if change.low_rank is not None:
            self._add(weight, change.low_rank)
        if change.added is not None:
            weight += change.scale * self._adapter.tensor(change.added).float()
        return weight

    def fingerprint(self, info: TensorInfo) -> str:
        change = self._changes.get(info.name)
        if change is None:
            return self._base.fingerprint(info)
        pieces = [self._adapter.fingerprint(piece) for piece in _infos(change)]
        start = [] if change.full is not None else [self._base.fingerprint(info)]
        low = change.low_rank
        settings = [change.scale, low.scale, low.transposed] if low else [change.scale]
        return repr((*start, *pieces, *settings))

    def _add(self, weight: Tensor, low_rank: LowRank) -> None:
        a, b = (self._adapter.tensor(info).float() for info in (low_rank.a, low_rank.b))
        left, right = (a.T, b.T) if low_rank.transposed else (b, a)
        weight.addmm_(left, right, alpha=low_rank.scale)


def _infos(change: Change) -> list[TensorInfo]:
    low = change.low_rank
    found = [change.full, *((low.a, low.b) if low else ()), change.added]
    return [info for info in found if info is not None]
