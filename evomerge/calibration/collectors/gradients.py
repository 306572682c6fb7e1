"""What is made of the gradient of one example at a time: diagonal Fisher information, and sensitivities.

A parameter's gradient is used and let go as soon as it is there: only sums are kept.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from evomerge.calibration.batches import Batch
from evomerge.calibration.collectors.base import Sums, Unit
from evomerge.calibration.likelihood import log_likelihood
from evomerge.calibration.loading import Loaded
from evomerge.calibration.slots import Slot


class _Gradients:
    """Backward passes over active parameters; `add` is told of each tensor's gradient."""

    one_by_one = True
    drawn = False

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._active: dict[str, list[Slot]] = {}
        self.sums = Sums()

    def units(self, batch: Batch) -> Sequence[Unit]:
        del batch
        return [Unit((name,), self.bytes_of(slot)) for name, slot in self._loaded.slots.items()]

    def begin(self, names: frozenset[str]) -> None:
        self.sums = Sums()
        self._active = {}
        for name in names:
            slot = self._loaded.slots[name]
            self._active.setdefault(slot.parameter, []).append(slot)

    def feed(self, batch: Batch) -> None:
        hooks = []
        held = self._loaded.tensors()
        for name in self._active:
            held[name].requires_grad_(True)
            register: Any = held[name].register_post_accumulate_grad_hook
            hooks.append(register(self._hook(name)))
        try:
            with torch.enable_grad():
                total, labels = log_likelihood(self._loaded, batch, drawn=self.drawn)
                torch.autograd.backward(self.objective(total, labels))
        finally:
            for hook in hooks:
                hook.remove()
            self._loaded.model.requires_grad_(False)
        self.sums.count("examples", 1)

    def values(self) -> dict[str, Tensor]:
        """Zeros for what no example reached."""
        count = self.sums.counts["examples"]
        return {
            slot.name: self.sums.add(slot.name, self.zeros(slot)) / count
            for slots in self._active.values()
            for slot in slots
        }

    def objective(self, total: Tensor, labels: int) -> Tensor:
        """What is differentiated, of the log-likelihood of so many labels."""
        del labels
        return total

    def bytes_of(self, slot: Slot) -> int:
        return 4 * slot.numel

    def zeros(self, slot: Slot) -> Tensor:
        return torch.zeros(slot.shape, device=self._loaded.device)

    def add(self, slot: Slot, weight: Tensor, gradient: Tensor) -> None:
        raise NotImplementedError

    def _hook(self, name: str) -> Callable[[Tensor], None]:
        def take(parameter: Tensor) -> None:
            gradient = parameter.grad
            assert gradient is not None
            for slot in self._active[name]:
                self.add(slot, slot.of(parameter.detach()), slot.of(gradient.contiguous()))
            parameter.grad = None

        return take


class EmpiricalFisher(_Gradients):
    """E[(∂ log p(y|x) / ∂θ)²] where y is the text."""

    def add(self, slot: Slot, weight: Tensor, gradient: Tensor) -> None:
        self.sums.add(slot.name, weight).addcmul_(gradient, gradient)


class Fisher(EmpiricalFisher):
    """The same where y is drawn from the model: the diagonal of the Fisher information."""

    drawn = True


class Sensitivity(_Gradients):
    """E[Σ |θ ∂L/∂θ|] of each tensor, L the mean negative log-likelihood of a text's tokens."""

    def objective(self, total: Tensor, labels: int) -> Tensor:
        return -total / max(labels, 1)

    def bytes_of(self, slot: Slot) -> int:
        del slot
        return 8

    def zeros(self, slot: Slot) -> Tensor:
        del slot
        return torch.zeros((), dtype=torch.float64, device=self._loaded.device)

    def add(self, slot: Slot, weight: Tensor, gradient: Tensor) -> None:
        total = (weight * gradient).abs().sum(dtype=torch.float64)
        self.sums.add(slot.name, total).add_(total)
