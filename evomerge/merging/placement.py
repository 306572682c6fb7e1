"""Where base and experts lie while candidates are merged: on the GPU, in pinned memory, or in mapped files.

On the GPU a merge runs at the speed of its memory; from pinned host memory at that of the bus; mapped
files go through pageable memory, but take none of their own and are shared by all workers of a node.
`auto` takes the first that fits. Copies are per worker. On a CPU files are mapped, and `device` reads
them into memory, which helps where the disk is a slow one of the network.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from evomerge.errors import ResourceError, UsageError

ModelsOn = Literal["auto", "device", "pinned", "mapped"]
_SCRATCH = 1 << 30
"""Bytes that stay free on the device: what a merge works with."""
_PINNED_SHARE = 0.5
"""Of the free host memory at most; pinned pages can go nowhere else."""


@dataclass(frozen=True)
class Room:
    """Free bytes; `device` is None on a CPU."""

    host: int
    device: int | None


def free_room(device: torch.device) -> Room:
    """What this machine has left."""
    import psutil

    host = int(psutil.virtual_memory().available)
    if device.type != "cuda":
        return Room(host, None)
    return Room(host, int(torch.cuda.mem_get_info(device)[0]))


def choose(wanted: ModelsOn, needed: int, room: Room) -> Literal["device", "pinned", "mapped"]:
    """Where `needed` bytes of models shall lie.

    Raises UsageError for a place that does not exist here, ResourceError for one that is too small.
    """
    if room.device is None:
        if wanted == "pinned":
            raise UsageError(
                "there is no GPU, and so no use for pinned memory",
                where="engine.models_on",
                remedy="write auto, mapped, or device for a copy in memory",
            )
        fits = {"device": needed <= room.host, "mapped": True}
        return "mapped" if wanted == "auto" else _fitting(wanted, fits, needed)
    fits = {
        "device": needed + _SCRATCH <= room.device,
        "pinned": needed <= room.host * _PINNED_SHARE,
        "mapped": True,
    }
    if wanted != "auto":
        return _fitting(wanted, fits, needed)
    return "device" if fits["device"] else "pinned" if fits["pinned"] else "mapped"


def _fitting(
    wanted: Literal["device", "pinned", "mapped"], fits: dict[str, bool], needed: int
) -> Literal["device", "pinned", "mapped"]:
    if not fits[wanted]:
        raise ResourceError(
            f"the models take {needed / 1e9:.1f} GB, which do not fit there",
            where=f"engine.models_on: {wanted}",
            remedy="write auto, or lower engine.gpu_memory_utilization",
        )
    return wanted


class Residence:
    """Keeps models where they were put; a mapped tensor comes back as it is.

    Args:
        place: as `choose` gives it.
    """

    def __init__(self, place: Literal["device", "pinned", "mapped"], device: torch.device) -> None:
        self.place = place
        self._device = device
        self._kept: dict[str, Tensor] = {}

    def of(self, name: str, make: Callable[[], Tensor]) -> Tensor:
        """The tensor by that name where it lives; made and moved there the first time."""
        if self.place == "mapped":
            return make()
        if name not in self._kept:
            tensor, pinned = make(), self.place == "pinned"
            self._kept[name] = tensor.pin_memory() if pinned else _copied(tensor, self._device)
        return self._kept[name]


def _copied(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.clone() if device.type == "cpu" else tensor.to(device)
