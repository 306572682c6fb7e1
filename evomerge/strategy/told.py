"""Everything that a strategy was told, in told order."""

import numpy as np

from evomerge.space import Genome
from evomerge.strategy.base import Observation


class Told:
    """Genomes and what came of them."""

    def __init__(self) -> None:
        self.genomes: list[Genome] = []
        self.observations: list[Observation] = []
        self._bits: set[bytes] = set()

    def __len__(self) -> int:
        return len(self.genomes)

    def add(self, genome: Genome, observation: Observation) -> None:
        """One more; the genome is copied."""
        own = np.array(genome, dtype=np.float64)
        self.genomes.append(own)
        self.observations.append(observation)
        self._bits.add(own.tobytes())

    def __contains__(self, genome: Genome) -> bool:
        return genome.tobytes() in self._bits

    @property
    def different(self) -> int:
        """How many different genomes there are."""
        return len(self._bits)
