"""Smaller experts: low-rank matrices and a few whole rows, and fewer hidden units (MC-SMoE).

Li et al. 2024 (section 3.3) write a matrix as U V + S, S sparse by rows. Which rows stay they learn while
they train on; here it is what the low-rank part lacks most, so that nothing has to be trained. Hidden units
are left out as a whole: the experts of a mixture stay experts, only narrower, and every engine loads them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from torch import Tensor

from evomerge.alignment.squares import solve

Activation = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Factored:
    """U V + S of a matrix [H, W]: `left` [H, r], `right` [r, W], and `rows` [k, W] of S at `numbers` [k]."""

    left: Tensor
    right: Tensor
    rows: Tensor
    numbers: Tensor

    def dense(self) -> Tensor:
        """The matrix."""
        found = self.left @ self.right
        found[self.numbers.long()] += self.rows
        return found


def inner_rank(shape: tuple[int, ...], rank: float) -> int:
    """r = ⌈ρHW/(H+W)⌉: the low-rank part of ρ times the matrix's parameters."""
    high, wide = shape
    return min(ceil(rank * high * wide / (high + wide)), high, wide)


def whole_rows(high: int, rows: float) -> int:
    """How many rows a share of them is, rounded up."""
    return ceil(rows * high - 1e-9)


def factor(weight: Tensor, rank: float, rows: float) -> Factored:
    """U √Σ and √Σ Vᵀ of the largest singular values, and what they lack in the rows of largest mean |S|.

    In fp64.
    """
    count = inner_rank(tuple(weight.shape), rank)
    u, s, v = torch.linalg.svd(weight.double(), full_matrices=False)
    root = s[:count].sqrt()
    left, right = u[:, :count] * root, root[:, None] * v[:count]
    rest = weight.double() - left @ right
    lacking = torch.argsort(rest.abs().mean(1), descending=True, stable=True)
    numbers = lacking[: whole_rows(len(weight), rows)].sort().values
    return Factored(left, right, rest[numbers], numbers.int())


def compress(weight: Tensor, rank: float, rows: float) -> Tensor:
    """U V + S multiplied out, fp32; the matrix itself where ρ is 1."""
    return weight if rank >= 1.0 else factor(weight, rank, rows).dense().float()


@dataclass(frozen=True)
class GatedExpert:
    """The weights of act(x Gᵀ) ⊙ (x Uᵀ) Dᵀ: `gate`, `up` [I, M], `down` [M, I]."""

    gate: Tensor
    up: Tensor
    down: Tensor

    def hidden(self, x_TM: Tensor, act: Activation) -> Tensor:
        """What the hidden units answer, [T, I], fp32."""
        x_TM = x_TM.float()
        return act(x_TM @ self.gate.float().T) * (x_TM @ self.up.float().T)


def narrowed(
    expert: GatedExpert, count: int, inputs_TM: Tensor, act: Activation, ridge: float
) -> GatedExpert:
    """The expert with `count` of its hidden units; the expert itself where it has no more.

    The units stay whose part of the output is largest, by E h² ‖d‖² on the inputs; the down matrix then
    takes over what the others gave, by least squares that hold on to what it was.
    """
    if count >= expert.up.shape[0]:
        return expert
    h_TI = expert.hidden(inputs_TM, act)
    gains = h_TI.square().mean(0) * expert.down.float().square().sum(0)
    kept = torch.argsort(gains, descending=True, stable=True)[:count].sort().values
    roles = np.zeros(len(expert.down), np.int64), np.zeros(count, np.int64)
    start = expert.down.float()[:, kept]
    down, _ = solve(start, None, h_TI[:, kept], h_TI @ expert.down.float().T, roles, ridge)
    return GatedExpert(expert.gate[kept], expert.up[kept], down)
