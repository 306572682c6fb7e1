"""Everything that a strategy was told, in told order."""

import numpy as np

from evomerge.space import Genome
from evomerge.strategy.base import Observation


class Told:
    """Genomes and what came of them."""

    def __init__(self) -> None:
        self.genomes: list[Genome] = []
        self.observations: list[Observation] = []

    def __len__(self) -> int:
        return len(self.genomes)

    def add(self, genome: Genome, observation: Observation) -> None:
        """One more; the genome is copied."""
        self.genomes.append(np.array(genome, dtype=np.float64))
        self.observations.append(observation)
