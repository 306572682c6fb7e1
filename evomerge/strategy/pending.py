"""Genomes that were asked for and not told of yet."""

from typing import Generic, TypeVar

import numpy as np

from evomerge.space import Genome

T = TypeVar("T")


class Pending(Generic[T]):
    """Remembers something for each asked genome until it is told.

    Genomes are known by their bits: a store gives back the same ones.
    """

    def __init__(self) -> None:
        self._asked: dict[bytes, list[tuple[Genome, T]]] = {}

    @property
    def genomes(self) -> list[Genome]:
        """In the order in which they were first asked for."""
        return [genome for asked in self._asked.values() for genome, _ in asked]

    def ask(self, genome: Genome, memory: T) -> Genome:
        """Remember `memory` for a genome; returns a copy, the caller's to change."""
        self._asked.setdefault(genome.tobytes(), []).append((genome, memory))
        return genome.copy()

    def tell(self, genome: Genome) -> T | None:
        """What was remembered for a genome, the oldest first; None if it was never asked for."""
        key = np.asarray(genome, dtype=np.float64).tobytes()
        asked = self._asked.get(key)
        if not asked:
            return None
        memory = asked.pop(0)[1]
        if not asked:
            del self._asked[key]
        return memory
