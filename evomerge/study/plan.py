"""A study as cells: a base, a method with its policy, a subset of the experts, a seed.

Subsets are the beginnings of random orders, so that each lies within the next (Tam et al. 2024, section
on scaling: ten nested orders, all beginnings different).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evomerge.methods.base import Trim
from evomerge.space.binding import model_limits
from evomerge.study.spec import StudyBase, StudyMethod, StudySpec

_DRAWS = 200
"""Orders that are drawn at most for one whose beginnings are all new."""
Places = tuple[int, ...]
"""Experts of a base by their place in the file, rising."""


@dataclass(frozen=True)
class Cell:
    """One merge of a study. orders: which random orders have this subset among their beginnings."""

    base: StudyBase
    entry: StudyMethod
    places: Places
    seed: int
    orders: tuple[int, ...]

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(self.base.experts[place].model for place in self.places)

    @property
    def size(self) -> int:
        return len(self.places)

    @property
    def label(self) -> str:
        """For people."""
        seed = f", seed {self.seed}" if self.seed else ""
        return f"{self.entry.label} on {self.base.title}, experts {_listed(self.places)}{seed}"


@dataclass(frozen=True)
class Skipped:
    """A method that cannot merge so many models."""

    cell: Cell
    why: str


@dataclass(frozen=True)
class Plan:
    """Everything that a study runs, base by base, and what it leaves out."""

    cells: tuple[Cell, ...]
    skipped: tuple[Skipped, ...]


def make_plan(spec: StudySpec) -> Plan:
    """The cells in the order of the file: bases, sizes, orders, methods, seeds."""
    found = list(_cells(spec))
    skipped = [Skipped(cell, why) for cell in found if (why := _why_not(cell))]
    left_out = {id(one.cell) for one in skipped}
    return Plan(tuple(cell for cell in found if id(cell) not in left_out), tuple(skipped))


def _cells(spec: StudySpec) -> Iterator[Cell]:
    for base in spec.bases:
        for places, orders in subsets_of(spec, len(base.experts)).items():
            for entry in spec.methods:
                for seed in spec.seeds if is_random(entry) else spec.seeds[:1]:
                    yield Cell(base, entry, places, seed, orders)


def waves(cells: Sequence[Cell]) -> list[list[Cell]]:
    """The cells in parts: those of a part begin at nothing, or at what an earlier part found."""
    depths: dict[str, int] = {}
    found: list[list[Cell]] = []
    for cell in cells:
        after = cell.entry.after
        depth = 0 if after is None else 1 + depths.get(after, 0)
        depths[cell.entry.label] = depth
        found += [[] for _ in range(1 + depth - len(found))]
        found[depth].append(cell)
    return found


def is_random(entry: StudyMethod) -> bool:
    """Whether another seed gives another result."""
    drawn = entry.declared.trim in {Trim.RANDOM, Trim.RANKED} or entry.declared.learned
    return (
        drawn or entry.policy == "searched" or (entry.policy == "tuned" and entry.how == "random")
    )


def subsets_of(spec: StudySpec, count: int) -> dict[Places, tuple[int, ...]]:
    """The subsets of `count` experts, each once, small ones first, with the orders that have them."""
    sizes = sorted(spec.subsets.sizes) or [count]
    orders = nested_orders(count, sizes, spec.subsets.orders, spec.subsets.seed)
    found: dict[Places, list[int]] = {}
    for size in sizes:
        for number, order in enumerate(orders):
            found.setdefault(tuple(sorted(order[:size])), []).append(number)
    return {places: tuple(numbers) for places, numbers in found.items()}


def nested_orders(count: int, sizes: Sequence[int], orders: int, seed: int) -> list[Places]:
    """Random orders of `count` experts whose beginnings of the given sizes differ, while there are any.

    The same for every base of so many experts, so that sizes of models are compared on the same subsets.
    """
    generator = np.random.default_rng([seed, 0x57D1, count])
    seen: set[Places] = set()
    chosen: list[Places] = []
    for _ in range(orders):
        drawn = [tuple(generator.permutation(count).tolist()) for _ in range(_DRAWS)]
        best = min(drawn, key=lambda order: sum(b in seen for b in _beginnings(order, sizes)))
        seen.update(_beginnings(best, sizes))
        chosen.append(best)
    return chosen


def _beginnings(order: Places, sizes: Sequence[int]) -> list[Places]:
    return [tuple(sorted(order[:size])) for size in sizes]


def _why_not(cell: Cell) -> str | None:
    least, most = model_limits(cell.entry.declared)
    if least <= cell.size and (most is None or cell.size <= most):
        return None
    amount = (
        f"exactly {least}"
        if least == most
        else f"{least} or more"
        if most is None
        else f"{least} to {most}"
    )
    return f"{cell.entry.method} merges {amount}, not {cell.size}"


def _listed(places: Places) -> str:
    return "+".join(str(place + 1) for place in places)
