"""What a collector is: it is fed batches, and what it has summed up so far can be put away at any time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from torch import Tensor

from evomerge.calibration.batches import Batch


@dataclass(frozen=True)
class Unit:
    """Tensors that are measured together, and the bytes that their sums take."""

    names: tuple[str, ...]
    num_bytes: int


@dataclass
class Sums:
    """Everything that has been summed up. `notes` is whatever else must survive, as JSON."""

    tensors: dict[str, Tensor] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, like: Tensor) -> Tensor:
        """The sum of that name, zeros of the shape of `like` the first time."""
        if name not in self.tensors:
            self.tensors[name] = like.new_zeros(like.shape)
        return self.tensors[name]

    def count(self, name: str, number: int) -> None:
        """So many more terms went into a sum."""
        self.counts[name] = self.counts.get(name, 0) + number


class Collector(Protocol):
    """Measures one statistic of one model. Not thread safe.

    one_by_one: whether each example needs a batch of its own, as a square of its gradient does.
    """

    one_by_one: bool
    sums: Sums

    def units(self, batch: Batch) -> Sequence[Unit]:
        """What there is to measure; may try it out on a batch."""
        ...

    def begin(self, names: frozenset[str]) -> None:
        """Measure these, and nothing else, from now on; sums start empty."""
        ...

    def feed(self, batch: Batch) -> None:
        """Add a batch to the sums."""
        ...

    def values(self) -> dict[str, Tensor]:
        """The statistic of what was fed, by name."""
        ...
