"""Partial merges: units that fit become one, the others stay two (PLeaS, Nasery et al. 2025, section 3).

A group of n units of which a share r stays apart has n (1 + r) units afterwards: the merged ones, then the
first network's own, then the second's. A weight between two groups becomes

                    merged        first's    second's      (units that it reads)
        merged      (W₁+W₂)/2     W₁/2       W₂/2
        first's     W₁            W₁         0
        second's    W₂            0          W₂

so that with r = 0 it is the average of the matched networks, and with r = 1 the network holds both.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.alignment.groups import Axis, Group, axes_by_tensor
from evomerge.alignment.permute import Order, entries_of

MERGED, FIRST, SECOND, PADDING = 0, 1, 2, 3
_OUT = np.array([[0.5, 0.5], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
_IN = np.array([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
"""What a unit of each role takes of either network, as one that is produced and one that is read."""
_MISFIT = 1e-9


@dataclass(frozen=True)
class Roles:
    """The units of a merged group: of each, which of the matched units it is, and its role."""

    units: Order
    roles: NDArray[np.int64]

    @property
    def size(self) -> int:
        return len(self.units)

    @property
    def apart(self) -> int:
        """How many units of either network stay apart."""
        return int((self.roles == FIRST).sum())

    def padded(self, size: int) -> "Roles":
        """The same with units that produce nothing at the end."""
        more = size - self.size
        return Roles(
            np.concatenate([self.units, np.zeros(more, np.int64)]),
            np.concatenate([self.roles, np.full(more, PADDING)]),
        )


def roles_of(scores: NDArray[np.float64], apart: int) -> Roles:
    """Keep the `apart` units of the lowest scores as two; ties fall on the later ones."""
    size = len(scores)
    ranked = np.argsort(-scores, kind="stable")
    merged = np.sort(ranked[: size - apart])
    alone = np.sort(ranked[size - apart :])
    parts = (merged, alone, alone)
    kinds = [np.full(len(part), role) for role, part in enumerate(parts)]
    return Roles(np.concatenate(parts), np.concatenate(kinds))


@dataclass(frozen=True)
class Side:
    """One dimension of a merged tensor: entries of the matched ones, what is taken of either, roles.

    out: whether the tensor produces these units.
    """

    index: Order
    shares: NDArray[np.float64]
    roles: NDArray[np.int64]
    out: bool


class Widening:
    """Merged tensors of two matched networks.

    Args:
        roles: of each group that has any; the others are merged unit by unit.
    """

    def __init__(self, groups: Sequence[Group], roles: Mapping[str, Roles]) -> None:
        self._axes = axes_by_tensor(groups)
        self._roles = roles

    def merge(self, name: str, first: Tensor, second: Tensor) -> Tensor:
        """The merged tensor, fp32; `second` in the order that fits `first`."""
        sides = self.sides(name, tuple(first.shape))
        shares = [_broadcast(sides, network, first) for network in (0, 1)]
        taken = [first.float(), second.float()]
        for dim, side in sides.items():
            index = torch.from_numpy(side.index).to(first.device)
            taken = [tensor.index_select(dim, index) for tensor in taken]
        return taken[0] * shares[0] + taken[1] * shares[1]

    def shape(self, name: str, shape: Sequence[int]) -> tuple[int, ...]:
        """The merged tensor's shape."""
        sides = self.sides(name, tuple(shape))
        return tuple(len(sides[d].index) if d in sides else n for d, n in enumerate(shape))

    def sides(self, name: str, shape: tuple[int, ...]) -> dict[int, Side]:
        """Every dimension on which units stay apart or that averages; missing ones are taken as read."""
        found: dict[int, Side] = {}
        axes = [axis for _, axis in self._axes.get(name, ())]
        for dim, length in enumerate(shape):
            grown = [(g, a) for g, a in self._axes.get(name, ()) if a.dim == dim]
            grown = [(g, a) for g, a in grown if g.name in self._roles]
            out = _is_out(axes, dim, len(shape))
            if grown or out:
                found[dim] = _side(grown, self._roles, length, out)
        return found


def _is_out(axes: Sequence[Axis], dim: int, dims: int) -> bool:
    """Whether a dimension is the one that a tensor produces: only that one halves what is merged."""
    sides = {axis.dim: axis.side for axis in axes}
    produced = [d for d, side in sides.items() if side == "out"]
    if produced:
        return dim == produced[0]
    read = next(iter(sides), None)  # the other dimension of what is only read: outputs that stay
    return dim == next((d for d in range(dims) if d != read), 0)


def _side(
    grown: Sequence[tuple[Group, Axis]], roles: Mapping[str, Roles], length: int, out: bool
) -> Side:
    """A dimension with its axes replaced by their merged units, in place."""
    pieces: list[Order] = []
    kinds: list[NDArray[np.int64]] = []
    end = 0
    for group, axis in sorted(grown, key=lambda pair: pair[1].start):
        own = roles[group.name]
        pieces += [np.arange(end, axis.start), entries_of(axis, own.units)]
        kinds += [np.zeros(axis.start - end, np.int64), np.repeat(own.roles, axis.block)]
        end = axis.start + group.size * axis.block
    pieces.append(np.arange(end, length))
    kinds.append(np.zeros(length - end, np.int64))
    role = np.concatenate(kinds)
    return Side(np.concatenate(pieces), (_OUT if out else _IN)[role], role, out)


def _broadcast(sides: Mapping[int, Side], network: int, like: Tensor) -> Tensor:
    """The product of what every dimension takes of a network."""
    total = torch.ones([1] * like.dim(), device=like.device)
    for dim, side in sides.items():
        shape = [-1 if d == dim else 1 for d in range(like.dim())]
        share = torch.from_numpy(side.shares[:, network]).float().to(like.device)
        total = total * share.view(shape)
    return total


def cost(
    groups: Sequence[Group], shapes: Mapping[str, tuple[int, ...]], roles: Mapping[str, Roles]
) -> float:
    """Parameters of the merged network over those of one: what it costs to run, roughly.

    The zero blocks between the two networks' own units are not counted: the published cost of a
    weight, (1+rₒ)(1+rᵢ) − 2rₒrᵢ.
    """
    widening = Widening(groups, roles)
    before = sum(int(np.prod(shape)) for shape in shapes.values())
    return sum(_entries(widening, name, shape) for name, shape in shapes.items()) / before


def _entries(widening: Widening, name: str, shape: tuple[int, ...]) -> float:
    sides = widening.sides(name, shape)
    count = float(np.prod(widening.shape(name, shape)))
    grown = [side.roles for side in sides.values() if side.roles.any()]
    if len(grown) == 2:
        rest = count / (len(grown[0]) * len(grown[1]))
        apart = [[(roles == kind).sum() for kind in (FIRST, SECOND)] for roles in grown]
        count -= rest * float(apart[0][0] * apart[1][1] + apart[0][1] * apart[1][0])
    return count


Choose = Callable[[float], Mapping[str, Roles]]
"""The roles that one number between 0 (all merged) and 1 (all apart) stands for."""


def within_budget(
    budget: float,
    choose: Choose,
    groups: Sequence[Group],
    shapes: Mapping[str, tuple[int, ...]],
    steps: int = 30,
) -> Mapping[str, Roles]:
    """The most units that may stay apart for a cost of at most `budget` times one network's."""
    low, high = 0.0, 1.0
    if cost(groups, shapes, choose(high)) <= budget + _MISFIT:
        return choose(high)
    for _ in range(steps):
        middle = (low + high) / 2
        if cost(groups, shapes, choose(middle)) <= budget + _MISFIT:
            low = middle
        else:
            high = middle
    return choose(low)


def by_share(
    scores: Mapping[str, NDArray[np.float64]], ratios: Mapping[str, float]
) -> dict[str, Roles]:
    """Roles where of each group the share r of the units stays apart, rounded to whole units."""
    return {
        name: roles_of(scores[name], round(ratio * len(scores[name])))
        for name, ratio in ratios.items()
    }
