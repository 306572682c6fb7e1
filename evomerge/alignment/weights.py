"""Matching by weights: the orders of one network's units in which its weights are most like another's.

Coordinate ascent on Σ ⟨θ₁, π(θ₂)⟩ (Ainsworth et al. 2023, Git Re-Basin, algorithm 1): one group after the
other is given its best order, a linear assignment, while the others stand; sweeps go on until nothing
is gained. A head's cost is that of its queries and keys as they are, plus the best order of its value
dimensions, which is a linear assignment of its own.
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from evomerge.alignment.groups import Axis, Group
from evomerge.alignment.permute import Order, Permuter

Read = Callable[[str], Tensor]
"""A network's tensor by name."""
Costs = NDArray[np.float64]
SWEEPS = 100
_GAIN = 1e-9


def match_weights(
    groups: Sequence[Group], first: Read, second: Read, *, seed: int = 0, sweeps: int = SWEEPS
) -> dict[str, Order]:
    """The orders of `second`'s units that fit `first`'s.

    Sweeps start from the order that the networks have: fine-tunes of one base keep it. The seed decides
    in which order groups are visited. Deterministic on one device.
    """
    matcher = _Matcher(groups, first, second)
    generator = np.random.default_rng(seed)
    free = [group for group in groups if not group.fixed]
    for _ in range(sweeps):
        gained = [matcher.improve(free[number]) for number in generator.permutation(len(free))]
        if not any(gained):
            break
    return matcher.orders


def unit_scores(
    groups: Sequence[Group], first: Read, second: Read, orders: Mapping[str, Order]
) -> dict[str, Costs]:
    """The cosine [size] of each unit's weights with those of the unit it is matched to, by group."""
    matcher = _Matcher(groups, first, second)
    matcher.orders.update(orders)
    return {group.name: matcher.cosines(group) for group in groups}


class _Matcher:
    def __init__(self, groups: Sequence[Group], first: Read, second: Read) -> None:
        self.first, self.second = first, second
        self.permuter = Permuter(groups)
        self.orders: dict[str, Order] = {
            part.name: np.arange(part.size) for group in groups for part in group.parts
        }

    def improve(self, group: Group) -> bool:
        """Give a group, and those within it, their best order; whether anything was gained."""
        names = [part.name for part in group.parts]
        before = {name: self.orders[name] for name in names}
        costs, choices = self._costs(group)
        order = assign(costs)
        now = self._value(costs, choices, group, before)
        if float(costs[np.arange(group.size), order].sum()) <= now + _GAIN * abs(now):
            return False
        self.orders[group.name] = order
        for place, part in enumerate(group.inner):
            self.orders[part.name] = choices[place, order[place]]
        return True

    def cosines(self, group: Group) -> Costs:
        """Cosines of matched units."""
        dots, ones, twos = (np.zeros(group.size) for _ in range(3))
        for axis in group.axes:
            one = self._units(self.first(axis.tensor), axis, group)
            two = self._units(self._moved(axis.tensor, ()), axis, group)
            dots += (one * two).sum(1).double().cpu().numpy()
            ones += one.square().sum(1).double().cpu().numpy()
            twos += two.square().sum(1).double().cpu().numpy()
        lengths = np.sqrt(ones * twos)
        return np.where(lengths > 0, dots / np.where(lengths > 0, lengths, 1.0), 1.0)

    def _costs(self, group: Group) -> tuple[Costs, NDArray[np.int64]]:
        """How well unit v of the second network would stand at place u, [size, size]; inner orders."""
        names = {part.name for part in group.parts}
        costs = np.zeros((group.size, group.size))
        inner = np.zeros((group.size, group.size, group.inner_size, group.inner_size))
        for axis in group.axes:
            one = self._units(self.first(axis.tensor), axis, group)
            two = self._units(self._moved(axis.tensor, names), axis, group)
            if axis in group.free:
                inner += _inner_products(one, two, axis.block, group.inner_size)
            else:
                costs += (one @ two.T).double().cpu().numpy()
        if not group.free:
            return costs, np.zeros((group.size, group.size, 0), np.int64)
        return _add_best(costs, inner)

    def _value(
        self, costs: Costs, choices: NDArray[np.int64], group: Group, orders: Mapping[str, Order]
    ) -> float:
        """What the present orders are worth by the same measure."""
        order = orders[group.name]
        best = float(costs[np.arange(group.size), order].sum())
        if not group.inner:
            return best
        same = all(
            np.array_equal(orders[part.name], choices[place, order[place]])
            for place, part in enumerate(group.inner)
        )
        return best if same else -np.inf

    def _moved(self, name: str, without: "set[str] | tuple[()]") -> Tensor:
        """The second network's tensor in the present orders, but for those of some groups."""
        orders = {key: order for key, order in self.orders.items() if key not in without}
        return self.permuter.apply(name, self.second(name), orders)

    @staticmethod
    def _units(tensor: Tensor, axis: Axis, group: Group) -> Tensor:
        """[size, block · rest]: one row for each unit, fp32; entries of its block come first."""
        front = tensor.movedim(axis.dim, 0)[axis.start : axis.start + group.size * axis.block]
        return front.reshape(group.size, -1).float()


def _inner_products(one: Tensor, two: Tensor, block: int, inner: int) -> Costs:
    """[size, size, inner, inner] products of the entries within units."""
    size = len(one)
    shape = (size, block // inner, inner, -1)
    left = one.reshape(shape).movedim(2, 1).reshape(size * inner, -1)
    right = two.reshape(shape).movedim(2, 1).reshape(size * inner, -1)
    found = (left @ right.T).reshape(size, inner, size, inner).movedim(2, 1)
    return np.asarray(found.double().cpu().numpy())


def _add_best(costs: Costs, inner: Costs) -> tuple[Costs, NDArray[np.int64]]:
    """Costs with the best inner order of every pair, and these orders."""
    size, width = len(costs), inner.shape[-1]
    choices = np.zeros((size, size, width), np.int64)
    total = costs.copy()
    for u in range(size):
        for v in range(size):
            choices[u, v] = assign(inner[u, v])
            total[u, v] += inner[u, v][np.arange(width), choices[u, v]].sum()
    return total, choices


def assign(gains: Costs) -> Order:
    """For each row its column, every column once, so that the sum of gains is largest."""
    from scipy.optimize import linear_sum_assignment

    _, columns = linear_sum_assignment(gains, maximize=True)
    return np.asarray(columns, dtype=np.int64)


def reader(tensors: Mapping[str, Tensor]) -> Read:
    """Reads tensors of a dict."""
    return tensors.__getitem__


__all__ = ["Read", "assign", "match_weights", "reader", "unit_scores"]
