"""Tensors with their units in another order."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.alignment.groups import Axis, Group, axes_by_tensor

Order = NDArray[np.int64]
"""For each place, the unit that comes to stand there."""
Orders = Mapping[str, Order]
"""The orders of groups by name; a group without one keeps its own."""


def entries_of(axis: Axis, units: Order) -> Order:
    """The entries of an axis's dimension that units stand for, unit by unit."""
    first = axis.start + units.astype(np.int64) * axis.block
    return (first[:, None] + np.arange(axis.block)).reshape(-1)


class Permuter:
    """Reorders the tensors of a network whose groups are known."""

    def __init__(self, groups: Iterable[Group]) -> None:
        self._axes = axes_by_tensor(groups)

    def apply(self, name: str, tensor: Tensor, orders: Orders) -> Tensor:
        """The tensor `name` in these orders; itself where they leave it as it is."""
        for dim, index in self.indices(name, tensor.shape, orders).items():
            tensor = tensor.index_select(dim, torch.from_numpy(index).to(tensor.device))
        return tensor

    def indices(self, name: str, shape: Sequence[int], orders: Orders) -> dict[int, Order]:
        """For each dimension that is reordered, which entry comes to stand where."""
        found: dict[int, Order] = {}
        for group, axis in self._axes.get(name, ()):
            order = orders.get(group.name)
            if order is None or np.array_equal(order, np.arange(group.size)):
                continue
            index = found.setdefault(axis.dim, np.arange(shape[axis.dim]))
            here = index[axis.start : axis.start + group.size * axis.block].copy()
            moved = entries_of(Axis(axis.tensor, axis.dim, axis.side, 0, axis.block), order)
            index[axis.start : axis.start + len(here)] = here[moved]
        return found


def inverse(order: Order) -> Order:
    """The order that undoes one."""
    found = np.empty_like(order)
    found[order] = np.arange(len(order))
    return found
