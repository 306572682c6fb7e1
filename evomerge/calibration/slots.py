"""Where a checkpoint's tensors lie in a transformers model.

Most parameters have the name that the checkpoint gives them. Others were renamed, or fused on loading
(the experts of a mixture lie in one parameter): those are found by their content.
"""

import math
import re
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from evomerge.layout import layer_of


@dataclass(frozen=True)
class Slot:
    """A checkpoint's tensor as a part of a parameter: `numel` entries from `start` on."""

    name: str
    shape: tuple[int, ...]
    parameter: str
    start: int

    @property
    def numel(self) -> int:
        return math.prod(self.shape)

    def of(self, tensor: Tensor) -> Tensor:
        """This part of a contiguous tensor of the parameter's shape: the parameter or its gradient."""
        return tensor.reshape(-1)[self.start : self.start + self.numel].view(self.shape)


def find_slots(
    model: torch.nn.Module, tensors: Iterable[tuple[str, Tensor]]
) -> tuple[dict[str, Slot], list[str]]:
    """The slot of every float tensor of a checkpoint that `model` was loaded from; the names of the lost.

    Tensors that several experts share bit for bit are told apart by their order.
    """
    parameters = {name: held.data for name, held in model.named_parameters()}
    slots: dict[str, Slot] = {}
    others: list[tuple[str, Tensor]] = []
    for name, tensor in tensors:
        held = parameters.get(name)
        if held is not None and held.shape == tensor.shape:
            slots[name] = Slot(name, tuple(tensor.shape), name, 0)
        elif tensor.is_floating_point():
            others.append((name, tensor))
    rest = {name: held for name, held in parameters.items() if name not in slots}
    slots |= _by_content(rest, sorted(others, key=lambda pair: natural(pair[0])))
    tied = _tied_heads(model)
    lost = [name for name, _ in others if name not in slots and name not in tied]
    return dict(sorted(slots.items(), key=lambda pair: natural(pair[0]))), lost


def natural(name: str) -> list[tuple[int, str]]:
    """A key that puts layer 10 behind layer 9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _tied_heads(model: torch.nn.Module) -> set[str]:
    keys: object = getattr(model, "_tied_weights_keys", None) or ()
    return set(keys) if isinstance(keys, Mapping | list | tuple | set) else set()


def _by_content(
    parameters: Mapping[str, Tensor], tensors: list[tuple[str, Tensor]]
) -> dict[str, Slot]:
    """Slots of tensors that lie, whole rows one after the other, within a parameter."""
    waiting: dict[tuple[int | None, bytes], list[tuple[str, Tensor]]] = {}
    for name, tensor in tensors:
        waiting.setdefault((layer_of(name), _first_row(tensor)), []).append((name, tensor))
    found: dict[str, Slot] = {}
    for parameter in sorted(parameters, key=natural):
        for slot in _inside(parameter, parameters[parameter], waiting):
            found[slot.name] = slot
    return found


def _inside(
    name: str, held: Tensor, waiting: dict[tuple[int | None, bytes], list[tuple[str, Tensor]]]
) -> Iterator[Slot]:
    flat, width = held.reshape(-1), held.shape[-1] if held.dim() else 1
    start = 0
    while start < flat.numel():
        listed = waiting.get((layer_of(name), _bytes(flat[start : start + width])), [])
        place = next(
            (n for n, (_, tensor) in enumerate(listed) if _lies(tensor, flat, start)), None
        )
        if place is None:
            start += width
            continue
        other, tensor = listed.pop(place)
        yield Slot(other, tuple(tensor.shape), name, start)
        start += tensor.numel()


def _lies(tensor: Tensor, flat: Tensor, start: int) -> bool:
    here = flat[start : start + tensor.numel()]
    return here.numel() == tensor.numel() and torch.equal(
        here, tensor.reshape(-1).to(here.device, here.dtype)
    )


def _first_row(tensor: Tensor) -> bytes:
    width = tensor.shape[-1] if tensor.dim() else 1
    return _bytes(tensor.reshape(-1)[:width])


def _bytes(row: Tensor) -> bytes:
    return bytes(row.detach().float().cpu().contiguous().numpy().tobytes())


class SlotFinder:
    """Which slots a weight that is computed with holds: by address, as it may be a view."""

    def __init__(self, model: torch.nn.Module, slots: Mapping[str, Slot]) -> None:
        held = dict(model.named_parameters())
        placed = [(_address(held[slot.parameter], slot.start), slot) for slot in slots.values()]
        self._slots = sorted(placed, key=lambda pair: pair[0])
        self._starts = [start for start, _ in self._slots]

    def inside(self, weight: Tensor) -> list[tuple[int, Slot]]:
        """The slots within `weight`, each with the entry of it at which the slot begins."""
        first, end = _address(weight, 0), _address(weight, weight.numel())
        low, high = bisect_left(self._starts, first), bisect_left(self._starts, end)
        size = weight.element_size()
        return [((start - first) // size, slot) for start, slot in self._slots[low:high]]


def _address(tensor: Tensor, entry: int) -> int:
    return tensor.data_ptr() + entry * tensor.element_size()
