"""Experts of a mixture: orders of their hidden units, groups by routing, merges.

The steps of M-SMoE (Li et al. 2024, sections 3.1 to 3.3) as functions on one layer's experts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.alignment.permute import Order, inverse
from evomerge.alignment.weights import assign

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Expert:
    """One expert's weights: `ups` [M, n] with a row for each hidden unit, `down` [n, M]."""

    ups: tuple[Tensor, ...]
    down: Tensor


def expert_orders(experts: Sequence[Expert]) -> list[Order]:
    """The order of each expert's hidden units that fits the first one's, by weights."""
    first = experts[0]
    orders = [np.arange(first.down.shape[1])]
    for other in experts[1:]:
        gains = first.down.float().T @ other.down.float()
        for mine, theirs in zip(first.ups, other.ups, strict=True):
            gains += mine.float() @ theirs.float().T
        orders.append(assign(gains.double().cpu().numpy()))
    return orders


def similarities(products_EE: Floats) -> Floats:
    """(cos + 1) / 2 of vectors from their inner products."""
    norms = np.sqrt(np.maximum(np.diagonal(products_EE), 0.0))
    scale = np.outer(norms, norms)
    cosines = np.where(scale > 0, products_EE / np.where(scale > 0, scale, 1.0), 0.0)
    return (np.clip(cosines, -1.0, 1.0) + 1.0) / 2.0


def groups_by_layer(
    usage: Sequence[Floats], shares: Sequence[float], *, together: bool
) -> list[int]:
    """How many groups each layer has.

    Args:
        usage: of the experts of each layer [E]. shares: groups over experts in each layer.
        together: layers share all groups out: those of experts used more than the (G+1)-th most,
            each layer's most used expert counting as 1; ties give fewer. Else each has its share.
    """
    wanted = [max(1, ceil(share * len(u) - 1e-9)) for u, share in zip(usage, shares, strict=True)]
    if not together:
        return wanted
    raised = [np.where(np.arange(len(u)) == int(np.argmax(u)), 1.0, u) for u in usage]
    ranked = np.sort(np.concatenate(raised))[::-1]
    total = sum(wanted)
    if total >= len(ranked):
        return [len(u) for u in usage]
    threshold = min(float(ranked[total]), np.nextafter(1.0, 0.0))  # the most used always stays
    return [int((u > threshold).sum()) for u in raised]


def group_experts(usage_E: Floats, similar_EE: Floats, count: int) -> NDArray[np.int64]:
    """The leader of each expert [E]: the `count` most used lead, the others join the most similar."""
    leaders = np.sort(np.argsort(-usage_E, kind="stable")[:count])
    nearest = leaders[np.argmax(similar_EE[:, leaders], axis=1)]
    nearest[leaders] = leaders
    return np.asarray(nearest, dtype=np.int64)


def shares_of(members: Sequence[int], usage_E: Floats, power: float) -> Floats:
    """The weight of each member of a group, summing to 1; equal where none was ever used."""
    weights = np.asarray(usage_E, dtype=np.float64)[list(members)]
    weights = weights**power if weights.any() else np.ones(len(members))
    return np.asarray(weights / weights.sum())


def merge_units(
    tensors: Mapping[int, Tensor],
    shares: Mapping[int, float],
    orders: Mapping[int, Order],
    leader: int,
    dim: int,
) -> Tensor:
    """The weighted mean of one tensor of a group's experts, units in the leader's order; fp32."""
    back = inverse(orders[leader])
    total = torch.zeros_like(tensors[leader], dtype=torch.float32)
    for number, tensor in tensors.items():
        index = torch.from_numpy(orders[number][back]).to(tensor.device)
        total += shares[number] * tensor.float().index_select(dim, index)
    return total
