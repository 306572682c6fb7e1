"""Matching by activations: units that answer alike on the same texts (PLeaS, section 3.1).

The cost of a pair of units is the distance of their answers, summed over every layer that reads them; a
head's is that of its value dimensions in their best order.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.alignment.groups import Axis, Group
from evomerge.alignment.permute import Order
from evomerge.alignment.weights import assign

Answers = Mapping[str, tuple[Tensor, Tensor]]
"""For each weight that reads units, both networks' inputs [T, N] on the same tokens."""
Costs = NDArray[np.float64]


def match_activations(groups: Sequence[Group], answers: Answers) -> dict[str, Order]:
    """The orders of the second network's units; groups whose answers are not known keep theirs."""
    found: dict[str, Order] = {}
    for group in groups:
        for part in group.parts:
            found[part.name] = np.arange(part.size)
        gains = None if group.fixed else _gains(group, answers)
        if gains is None:
            continue
        order = assign(gains[0])
        found[group.name] = order
        for place, part in enumerate(group.inner):
            found[part.name] = gains[1][place, order[place]]
    return found


def answer_scores(
    groups: Sequence[Group], answers: Answers, orders: Mapping[str, Order]
) -> dict[str, Costs]:
    """Of each unit minus the relative distance to the one it is matched to; 0 where nothing is known.

    Relative to the root mean square of both, so that groups can be compared.
    """
    found: dict[str, Costs] = {}
    for group in groups:
        apart, length = np.zeros(group.size), np.zeros(group.size)
        for one, two in _units(group, answers, orders):
            apart += (one - two).square().sum((0, 2)).double().cpu().numpy()
            both = one.square().sum((0, 2)) + two.square().sum((0, 2))
            length += both.double().cpu().numpy()
        found[group.name] = -np.sqrt(apart / np.where(length > 0, length, 1.0))
    return found


def _readers(group: Group, answers: Answers) -> list[Axis]:
    """One axis for each input that is known: layers that read the same units together count once."""
    seen: dict[int, Axis] = {}
    for axis in group.axes:
        if axis.side == "in" and axis.tensor in answers:
            seen.setdefault(answers[axis.tensor][0].data_ptr(), axis)
    return list(seen.values())


def _units(
    group: Group, answers: Answers, orders: Mapping[str, Order]
) -> "list[tuple[Tensor, Tensor]]":
    """Both networks' answers [T, size, block], the second's in its order, inner orders included."""
    found = []
    for axis in _readers(group, answers):
        one, two = (_blocks(x, axis, group) for x in answers[axis.tensor])
        two = two[:, torch.from_numpy(orders[group.name]).to(two.device)]
        for place, part in enumerate(group.inner):
            inner = torch.from_numpy(orders[part.name]).to(two.device)
            shaped = two[:, place].reshape(len(two), -1, group.inner_size)[..., inner]
            two[:, place] = shaped.reshape(len(two), -1)
        found.append((one, two))
    return found


def _blocks(inputs_TN: Tensor, axis: Axis, group: Group) -> Tensor:
    taken = inputs_TN[:, axis.start : axis.start + group.size * axis.block]
    return taken.reshape(len(taken), group.size, axis.block).float()


def _gains(group: Group, answers: Answers) -> tuple[Costs, NDArray[np.int64]] | None:
    """Minus the distance of every pair [size, size], and the best inner order of each."""
    readers = _readers(group, answers)
    if not readers:
        return None
    gains = np.zeros((group.size, group.size))
    inner = np.zeros((group.size, group.size, max(group.inner_size, 1)), np.int64)
    for axis in readers:
        one, two = (_blocks(x, axis, group) for x in answers[axis.tensor])
        if not group.inner:
            gains -= _distances(one.movedim(1, 0), two.movedim(1, 0))
            continue
        for u in range(group.size):
            for v in range(group.size):
                gain = -_distances(_inner(one[:, u], group), _inner(two[:, v], group))
                inner[u, v] = assign(gain)
                gains[u, v] += gain[np.arange(group.inner_size), inner[u, v]].sum()
    return gains, inner


def _inner(units_TB: Tensor, group: Group) -> Tensor:
    """[inner, T, repetitions]: each dimension of a head with its copies."""
    return units_TB.reshape(len(units_TB), -1, group.inner_size).movedim(2, 0)


def _distances(one: Tensor, two: Tensor) -> Costs:
    """Euclidean distances between rows of [N, ...]."""
    left, right = one.reshape(len(one), -1), two.reshape(len(two), -1)
    found: Costs = torch.cdist(left.double(), right.double()).cpu().numpy()
    return found
