"""A full factorial grid as fine as the budget allows: for one to three genes, and for pictures."""

import math
from collections.abc import Sequence

import numpy as np

from evomerge.space import Genome
from evomerge.strategy.base import Observation
from evomerge.strategy.cells import Cells


class GridStrategy:
    """Every combination of some values of each gene, in shuffled order, so that a search that stops
    early has looked everywhere.

    Values are spread from end to end of the box. A gene with one value only keeps the start's.
    """

    parents = 1

    def __init__(
        self, start: Genome, cells: Cells, *, seed: int, budget: int, population_size: int = 8
    ) -> None:
        start = cells.snap(start)
        self._levels = [
            _values(float(gene), count, int(parts))
            for gene, count, parts in zip(start, _counts(cells, budget), cells.counts, strict=True)
        ]
        self.points = math.prod(len(values) for values in self._levels)
        self._order = np.random.default_rng([seed, 0xE74]).permutation(self.points)
        self._asked = 0
        self._size = population_size

    @property
    def population_size(self) -> int:
        return self._size

    def ask(self) -> Genome:
        rest = int(self._order[self._asked % self.points])
        self._asked += 1
        genome = np.empty(len(self._levels))
        for gene, values in enumerate(self._levels):
            rest, place = divmod(rest, len(values))
            genome[gene] = values[place]
        return genome

    def tell(self, genome: Genome, observation: Observation) -> None:
        """A grid learns nothing."""

    def recommend(self) -> Genome | None:
        return None

    @property
    def stop_reason(self) -> str | None:
        if self._asked < self.points:
            return None
        return f"all {self.points} points of the grid were asked for"


def _counts(cells: Cells, budget: int) -> list[int]:
    """How many values of each gene: as equal as they can be, their product within the budget."""
    counts = [1] * cells.dimension
    growing = set(range(cells.dimension))
    while growing:
        gene = min(growing, key=lambda one: (counts[one], one))
        product = math.prod(counts) // counts[gene] * (counts[gene] + 1)
        if product > budget or counts[gene] + 1 > (cells.counts[gene] or budget):
            growing.remove(gene)
        else:
            counts[gene] += 1
    return counts


def _values(start: float, count: int, parts: int) -> Sequence[float]:
    if count == 1:
        return [start]
    if parts == 0:
        return [float(value) for value in np.linspace(0.0, 1.0, count)]
    return [float((cell + 0.5) / parts) for cell in np.rint(np.linspace(0, parts - 1, count))]
