"""Uniform random search: the baseline every other strategy has to beat."""

import numpy as np

from evomerge.space import Genome
from evomerge.strategy.base import Observation
from evomerge.strategy.cells import Cells


class RandomStrategy:
    """Uniform samples of [0, 1]^D; the first one is the start."""

    parents = 1

    def __init__(self, start: Genome, cells: Cells, *, seed: int, population_size: int = 8) -> None:
        self._generator = np.random.default_rng([seed, 0xE71])
        self._cells = cells
        self._start: Genome | None = np.array(start, dtype=np.float64)
        self._size = population_size

    @property
    def population_size(self) -> int:
        return self._size

    def ask(self) -> Genome:
        genome = self._generator.random(self._cells.dimension)
        if self._start is not None:
            genome, self._start = self._start, None
        return self._cells.snap(genome)

    def tell(self, genome: Genome, observation: Observation) -> None:
        """Random search learns nothing."""

    def recommend(self) -> Genome | None:
        return None

    @property
    def stop_reason(self) -> str | None:
        return None
