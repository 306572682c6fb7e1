"""MoFO-AdamW (Chen et al. 2024): AdamW that changes, of each tensor, the entries of the largest momentum.

Written as plain arithmetic on dicts of tensors, so that its whole state is tensors and one number.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil

import torch
from torch import Tensor

_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


@dataclass
class Mofo:
    """The optimiser. lr and decay as AdamW's; share: of entries that change, at least one a tensor."""

    lr: float
    share: float
    decay: float
    clip: float
    step: int = 0
    first: dict[str, Tensor] = field(default_factory=dict)
    second: dict[str, Tensor] = field(default_factory=dict)

    @torch.no_grad()
    def update(self, values: Mapping[str, Tensor]) -> None:
        """Change `values` in place by their gradients, which are used up."""
        self.step += 1
        gradients = {n: x.grad for n, x in values.items() if x.grad is not None}
        norm = torch.stack([g.norm() for g in gradients.values()]).norm()
        scale = min(1.0, self.clip / (float(norm) + 1e-6))
        for name, gradient in gradients.items():
            self._one(name, values[name], gradient * scale)
            values[name].grad = None

    def _one(self, name: str, value: Tensor, gradient: Tensor) -> None:
        first = self.first.setdefault(name, torch.zeros_like(value))
        second = self.second.setdefault(name, torch.zeros_like(value))
        first.lerp_(gradient, 1 - _BETAS[0])
        second.mul_(_BETAS[1]).addcmul_(gradient, gradient, value=1 - _BETAS[1])
        ahead = first / (1 - _BETAS[0] ** self.step)
        size = (second / (1 - _BETAS[1] ** self.step)).sqrt() + _EPSILON
        step = ahead / size + self.decay * value
        value.sub_(self.lr * step * _largest(first, self.share))


def _largest(momentum: Tensor, share: float) -> Tensor:
    """1 at the ⌈share · size⌉ largest entries, 0 elsewhere."""
    flat = momentum.abs().flatten()
    count = max(1, ceil(share * len(flat) - 1e-9))
    chosen = torch.zeros_like(flat)
    chosen[flat.argsort(descending=True, stable=True)[:count]] = 1.0
    return chosen.view_as(momentum)
