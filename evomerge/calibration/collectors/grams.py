"""Gram matrices of linear layers: of their inputs, and of the gradients at their outputs.

G = Σ xᵀx / T over all tokens T that went through the layer, in fp32. Layers with the same input (q, k
and v; gate and up) share one matrix. Sums take 4 d² bytes for a side of d.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from evomerge.calibration.batches import Batch
from evomerge.calibration.collectors.base import Sums, Unit
from evomerge.calibration.likelihood import log_likelihood
from evomerge.calibration.loading import Loaded
from evomerge.calibration.slots import Slot
from evomerge.calibration.watch import Call, LinearWatch
from evomerge.layout import kind_of

MAX_SIDE = 32768
"""Sides above this are not measured (4 GiB a matrix): a vocabulary's. Such tensors are averaged."""


class InputGrams:
    """E[xᵀx] of the inputs of every linear layer; embeddings, also tied ones, are none."""

    one_by_one = False

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._linear = _linear_slots(loaded)
        self._active: frozenset[str] = frozenset()
        self._leaders: dict[str, str] = {}
        self._fed: set[str] = set()
        self._transposed: set[str] = set()
        self.sums = Sums()

    def units(self, batch: Batch) -> Sequence[Unit]:
        """Groups of layers with one input, tried out on a batch; layers that it missed one by one."""
        self.begin(frozenset())
        self._forward(batch)
        groups: dict[str, list[str]] = {}
        for name in self._linear:
            groups.setdefault(self._leaders.get(name, name), []).append(name)
        sides = {leader: self._side(leader) for leader in groups}
        return [
            Unit(tuple(names), 4 * sides[leader] ** 2)
            for leader, names in groups.items()
            if sides[leader] <= MAX_SIDE
        ]

    def begin(self, names: frozenset[str]) -> None:
        self._active = names
        self.sums = Sums(notes={"leaders": self._leaders, "transposed": []})

    def feed(self, batch: Batch) -> None:
        self._leaders = self.sums.notes["leaders"]
        self._transposed = set(self.sums.notes["transposed"])
        self._forward(batch)
        self.sums.notes["transposed"] = sorted(self._transposed)

    def values(self) -> dict[str, Tensor]:
        return _means(self.sums)

    @torch.no_grad()
    def _forward(self, batch: Batch) -> None:
        with LinearWatch(self._loaded.model, self._linear, self._see):
            self._loaded.model(input_ids=batch.ids_BT)

    def _see(self, call: Call) -> None:
        if not call.repeated:
            self._fed = set()
        for leader in self._leaders_of(call):
            if leader in self._active and leader not in self._fed:
                side = call.inputs_TN.shape[1]
                total = self.sums.add(leader, call.inputs_TN.new_zeros(side, side))
                total.addmm_(call.inputs_TN.T, call.inputs_TN)
                self.sums.count(leader, len(call.inputs_TN))
            self._fed.add(leader)

    def _leaders_of(self, call: Call) -> list[str]:
        """The layers whose matrix the inputs belong to; a new layer joins the one before it."""
        names = [slot.name for _, slot in call.slots]
        self._transposed.update(names if call.transposed else ())
        known = [self._leaders[name] for name in names if name in self._leaders]
        earlier = sorted(self._fed) if call.repeated else []
        leader = (known or earlier or names)[0]
        for name in names:
            self._leaders.setdefault(name, leader)
        return list(dict.fromkeys(self._leaders[name] for name in names))

    def _side(self, name: str) -> int:
        shape = self._linear[name].shape
        return shape[0] if name in self._transposed else shape[1]


class OutputGradientGrams:
    """E[gᵀg] of the gradients of log p(y|x) at the outputs of every linear layer, y drawn from the model.

    With the Gram matrices of the inputs these are K-FAC's two factors. A head, with its side of a whole
    vocabulary, is left out, as MaTS leaves it out.
    """

    one_by_one = True

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        everything = _linear_slots(loaded).items()
        self._linear = {name: slot for name, slot in everything if kind_of(name) != "head"}
        self._active: frozenset[str] = frozenset()
        self.sums = Sums()

    def units(self, batch: Batch) -> Sequence[Unit]:
        transposed: set[str] = set()

        def note(call: Call) -> None:
            transposed.update(slot.name for _, slot in call.slots if call.transposed)

        with torch.no_grad(), LinearWatch(self._loaded.model, self._linear, note):
            self._loaded.model(input_ids=batch.ids_BT)
        sides = {n: slot.shape[int(n in transposed)] for n, slot in self._linear.items()}
        return [Unit((n,), 4 * side**2) for n, side in sides.items() if side <= MAX_SIDE]

    def begin(self, names: frozenset[str]) -> None:
        self._active = names
        self.sums = Sums()

    def feed(self, batch: Batch) -> None:
        with torch.enable_grad(), LinearWatch(self._loaded.model, self._linear, self._see):
            total, _ = log_likelihood(self._loaded, batch, drawn=True)
        if total.requires_grad:
            torch.autograd.backward(total)

    def values(self) -> dict[str, Tensor]:
        return _means(self.sums)

    def _see(self, call: Call) -> Tensor | None:
        parts = [(start, slot) for start, slot in call.slots if slot.name in self._active]
        if not parts:
            return None
        # Nothing before the first layer that is measured needs a gradient.
        output = call.output if call.output.requires_grad else call.output.detach().requires_grad_()

        def add(gradient: Tensor) -> None:
            flat_TO = gradient.reshape(-1, gradient.shape[-1])
            for start, slot in parts:
                self._add(slot, _outputs_of(flat_TO, start, slot, call.transposed))

        output.register_hook(add)  # type: ignore[no-untyped-call]
        return output

    def _add(self, slot: Slot, gradient_TO: Tensor) -> None:
        side = gradient_TO.shape[1]
        self.sums.add(slot.name, gradient_TO.new_zeros(side, side)).addmm_(
            gradient_TO.T, gradient_TO
        )
        self.sums.count(slot.name, len(gradient_TO))


def _outputs_of(flat_TO: Tensor, start: int, slot: Slot, transposed: bool) -> Tensor:
    """The outputs that a slot makes, of those of all slots of a weight."""
    if transposed:
        return flat_TO
    first = start // slot.shape[1]
    return flat_TO[:, first : first + slot.shape[0]]


def _linear_slots(loaded: Loaded) -> dict[str, Slot]:
    """Matrices that are no embedding, and whose inputs are not too many."""
    return {
        name: slot
        for name, slot in loaded.slots.items()
        if len(slot.shape) == 2 and kind_of(name) != "embedding" and min(slot.shape) <= MAX_SIDE
    }


def _means(sums: Sums) -> dict[str, Tensor]:
    return {name: total / sums.counts[name] for name, total in sums.tensors.items()}
