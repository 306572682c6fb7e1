"""Sees every linear map that a model computes: what goes in, what comes out, which weight.

It looks at the calls of `linear` and `addmm` themselves, and not at modules: so experts that lie in one
parameter, tied heads and GPT-2's transposed weights are all seen, whatever module makes the call.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from evomerge.calibration.slots import Slot, SlotFinder


@dataclass(frozen=True)
class Call:
    """One linear map: inputs [T, n], and the slots of its weight with the outputs that each one makes.

    output: [T, o] of all slots together. transposed: whether the weight is stored as [n, o].
    repeated: whether the same inputs went into the map before this one.
    """

    inputs_TN: Tensor
    output: Tensor
    slots: list[tuple[int, Slot]]
    transposed: bool
    repeated: bool


Seen = Callable[[Call], Tensor | None]
"""Told of a call; may give another tensor in place of its output."""


class LinearWatch(TorchFunctionMode):
    """While it is entered, `seen` is told of every linear map with a weight among `slots`."""

    def __init__(self, model: torch.nn.Module, slots: Mapping[str, Slot], seen: Seen) -> None:
        super().__init__()
        matrices = {name: slot for name, slot in slots.items() if len(slot.shape) == 2}
        self._finder = SlotFinder(model, matrices)
        self._seen = seen
        self._last: tuple[Tensor, int] | None = None

    def __torch_function__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        found = function(*args, **(kwargs or {}))
        if function is torch.nn.functional.linear:
            given = dict(zip(("input", "weight"), args, strict=False)) | (kwargs or {})
            return self._look(given["input"], given["weight"], found, transposed=False)
        if function is torch.addmm and len(args) == 3:
            return self._look(args[1], args[2], found, transposed=True)
        return found

    def _look(self, inputs: Tensor, weight: Tensor, output: Tensor, *, transposed: bool) -> Tensor:
        slots = self._finder.inside(weight)
        if not slots:
            return output
        repeated = self._last is not None and _same(*self._last, inputs)
        self._last = inputs, inputs._version  # kept alive, so that no other tensor gets its address
        flat_TN = inputs.detach().reshape(-1, inputs.shape[-1])
        changed = self._seen(Call(flat_TN, output, slots, transposed, repeated))
        return output if changed is None else changed


def _same(last: Tensor, version: int, inputs: Tensor) -> bool:
    """Whether an input is the one before: that of q, k and v, or of gate and up."""
    at_once = last.data_ptr() == inputs.data_ptr() and last.shape == inputs.shape
    return at_once and version == inputs._version
