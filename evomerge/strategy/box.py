"""The box [0, 1]^D as `cma` and `cmaes` see it.

Both refuse a single dimension: a lone gene gets a companion that changes nothing. A distribution begins
off the walls, where half of what it draws would have to be mended.
"""

import numpy as np

from evomerge.space import Genome
from evomerge.strategy.cells import CELL_SPREAD, Cells

_MARGIN = 0.02


def off_the_walls(genome: Genome) -> Genome:
    """The nearest genome with some air between itself and the walls."""
    inside: Genome = np.clip(genome, _MARGIN, 1 - _MARGIN)
    return inside


class Box:
    """From genomes [D] to points [P] of a distribution and back; P is D, or 2 for a lone gene."""

    def __init__(self, cells: Cells) -> None:
        self._cells, self._is_padded = cells, cells.dimension == 1

    @property
    def least_spread_P(self) -> Genome:
        """The standard deviation that a gene keeps at least; 0 for those of a continuum."""
        spread_D = CELL_SPREAD / np.where(self._cells.discrete, self._cells.counts, np.inf)
        return np.append(spread_D, 0.0) if self._is_padded else spread_D

    def point(self, genome: Genome) -> Genome:
        """A genome as the distribution has it."""
        return np.append(genome, 0.5) if self._is_padded else np.array(genome, dtype=np.float64)

    def own(self, point: Genome) -> Genome:
        """What belongs to the space's own genes; shape [D]."""
        return point[: self._cells.dimension]

    def genome(self, point: Genome) -> Genome:
        """The genome that is scored of a point."""
        return self._cells.snap(self.own(point))

    def mutated(self, point: Genome, generator: np.random.Generator) -> Genome:
        """A point whose cut genes may lie in another cell (`Cells.mutated`)."""
        return self.point(self._cells.mutated(self.own(point), generator))
