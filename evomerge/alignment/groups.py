"""What can be reordered in a network without changing what it computes.

A group is a number of units (hidden neurons, heads, channels of a residual stream) and every axis of every
tensor along which they lie. Reorder all axes of a group alike, and the network's function is the
same. Torch-free: names and shapes are enough.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from evomerge.errors import CheckpointError

Shapes = Mapping[str, tuple[int, ...]]
Side = Literal["out", "in"]
Kind = Literal["mlp", "heads", "values", "residual", "channels", "output"]


@dataclass(frozen=True)
class Axis:
    """Units along one dimension of a tensor: unit u has the `block` entries from start + u · block on.

    side: `out` where the tensor produces the units (rows of a weight, biases, gains, what an
        embedding looks up), `in` where it reads them.
    """

    tensor: str
    dim: int
    side: Side
    start: int = 0
    block: int = 1


@dataclass(frozen=True)
class Group:
    """Units that share one order.

    axes: all of their axes. Within a unit of a head some entries have an order of their own: `inner`
        are the groups of these, one for each place of a head, and `free` the axes concerned, whose
        blocks are repetitions of `inner_size` entries.
    fixed: never reordered (outputs); it can still be kept apart.
    """

    name: str
    kind: Kind
    size: int
    axes: tuple[Axis, ...]
    inner: "tuple[Group, ...]" = ()
    free: tuple[Axis, ...] = ()
    inner_size: int = 1
    fixed: bool = False

    @property
    def parts(self) -> "tuple[Group, ...]":
        """The group, then those within it."""
        return (self, *self.inner)


def all_groups(groups: Iterable[Group]) -> tuple[Group, ...]:
    """Every group; those within others follow them."""
    return tuple(part for group in groups for part in group.parts)


def axes_by_tensor(groups: Iterable[Group]) -> dict[str, list[tuple[Group, Axis]]]:
    """For each tensor its axes, in the order in which they are reordered."""
    found: dict[str, list[tuple[Group, Axis]]] = {}
    for group in all_groups(groups):
        for axis in group.axes:
            found.setdefault(axis.tensor, []).append((group, axis))
    return found


def check_groups(groups: Sequence[Group], shapes: Shapes) -> None:
    """Raise CheckpointError where an axis lies outside its tensor, or overlaps another's."""
    taken: dict[tuple[str, int, bool], set[int]] = {}
    within = {part.name for group in groups for part in group.inner}
    for group in all_groups(groups):
        for axis in group.axes:
            end = axis.start + group.size * axis.block
            shape = shapes.get(axis.tensor, ())
            if axis.dim >= len(shape) or end > shape[axis.dim]:
                raise CheckpointError(
                    f"{axis.tensor!r} of shape {list(shape)} has no {group.size} units of "
                    f"{axis.block} in dimension {axis.dim}, as {group.name} has them",
                    remedy="correct the number of heads or of hidden units in config.json",
                )
            used = taken.setdefault((axis.tensor, axis.dim, group.name in within), set())
            span = range(axis.start, end)
            if not used.isdisjoint(span):
                raise ValueError(f"{group.name}: axes overlap in {axis.tensor}")
            used.update(span)
