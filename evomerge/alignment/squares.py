"""Permuted least squares: merged weights that answer most like both networks (PLeaS, section 3.2).

For a linear layer the merged units' inputs X are those that they would have if every layer before answered
perfectly: (x₁+x₂)/2 where units are merged, x₁ or x₂ where they stay apart; targets Y likewise from the
networks' own outputs. Weights minimise ‖X Wᵀ + b − Y‖² + λ (tr XᵀX / n) ‖W − W⁰‖², W⁰ the partial
merge: with few texts, and in directions that none of them has, the merge stays as it was. Units of one
network never read the other's. Solved in fp64 for each role of outputs.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.alignment.permute import Order
from evomerge.alignment.widths import FIRST, MERGED, SECOND

Roles = NDArray[np.int64]
_READS = {MERGED: (MERGED, FIRST, SECOND), FIRST: (MERGED, FIRST), SECOND: (MERGED, SECOND)}


def blend(first_TN: Tensor, second_TN: Tensor, index: Order, roles: Roles) -> Tensor:
    """The merged units' activations [T, N′] from those of the matched networks, fp64."""
    place = torch.from_numpy(index).to(first_TN.device)
    one, two = (x.double().index_select(1, place) for x in (first_TN, second_TN))
    kind = torch.from_numpy(roles).to(first_TN.device)
    share = torch.where(kind == MERGED, 0.5, torch.where(kind == FIRST, 1.0, 0.0))
    other = torch.where(kind == MERGED, 0.5, torch.where(kind == SECOND, 1.0, 0.0))
    return one * share + two * other


def solve(
    start_ON: Tensor,
    bias_O: Tensor | None,
    inputs_TN: Tensor,
    targets_TO: Tensor,
    roles: tuple[Roles, Roles],
    ridge: float,
) -> tuple[Tensor, Tensor | None]:
    """Weight and bias from the partial merge `start_ON`, `bias_O`; fp32.

    Args:
        roles: of outputs [O] and of inputs [N].
        ridge: λ, above 0.
    """
    weight = start_ON.double().clone()
    bias = None if bias_O is None else bias_O.double().clone()
    x_TN, y_TO = inputs_TN.double(), targets_TO.double()
    rest_TO = y_TO - x_TN @ weight.T - (0.0 if bias is None else bias)
    ones = [] if bias is None else [torch.ones_like(x_TN[:, :1])]
    for role, reads in _READS.items():
        rows = torch.from_numpy(np.flatnonzero(roles[0] == role)).to(weight.device)
        columns = torch.from_numpy(np.flatnonzero(np.isin(roles[1], reads))).to(weight.device)
        if not len(rows) or not len(columns):
            continue
        seen = torch.cat([x_TN[:, columns], *ones], dim=1)
        step = _ridge(seen, rest_TO[:, rows], ridge, free=bias is not None)
        weight[rows[:, None], columns[None, :]] += step[: len(columns)].T
        if bias is not None:
            bias[rows] += step[-1]
    return weight.float(), None if bias is None else bias.float()


def _ridge(x_TN: Tensor, y_TO: Tensor, ridge: float, *, free: bool) -> Tensor:
    """Least squares [N, O] towards 0; the last column, where `free`, hardly held."""
    gram = x_TN.T @ x_TN
    count = gram.shape[0] - int(free)
    level = ridge * float(gram.diagonal()[:count].sum()) / max(count, 1) + 1e-12
    hold = torch.full((gram.shape[0],), level, dtype=gram.dtype, device=gram.device)
    if free:
        hold[-1] = level * 1e-3 + 1e-12
    found: Tensor = torch.linalg.solve(gram + torch.diag(hold), x_TN.T @ y_TO)
    return found
