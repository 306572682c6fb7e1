"""Children of two genomes: simulated binary crossover and polynomial mutation.

Deb & Agrawal 1995, Simulated Binary Crossover for Continuous Search Space; Deb & Goyal 1996, A Combined
Genetic Adaptive Search (GeneAS). Genes that are mere names are inherited whole and mutate to any other.
"""

import numpy as np

from evomerge.space import Genome
from evomerge.strategy.cells import Cells

_CROSSOVER_INDEX = 15.0
_MUTATION_INDEX = 20.0
_CROSSOVER = 0.9
_LEAST_SPREAD = 1e-12


class Variation:
    """Draws children from a private generator."""

    def __init__(self, cells: Cells, generator: np.random.Generator) -> None:
        self._cells, self._generator = cells, generator
        self._names = cells.discrete & ~cells.ordered

    def child(self, mother: Genome, father: Genome) -> Genome:
        """A genome between and around its parents, in the box, cut genes in the middle of cells."""
        child = self._cross(mother, father)
        return self._cells.snap(self._mutate(child))

    def _cross(self, mother: Genome, father: Genome) -> Genome:
        if self._generator.random() > _CROSSOVER:
            return mother.copy()
        u_D, side_D, mix_D = self._generator.random((3, self._cells.dimension))
        exponent = 1 / (_CROSSOVER_INDEX + 1)
        spread_D = np.where(u_D <= 0.5, (2 * u_D) ** exponent, (2 - 2 * u_D) ** -exponent)
        sign_D = np.where(side_D < 0.5, 1.0, -1.0)
        between_D = 0.5 * (mother + father + sign_D * spread_D * (father - mother))
        inherited_D = np.where(side_D < 0.5, father, mother)
        mixed_D = np.where(self._names, inherited_D, between_D)
        # Each gene is crossed with a chance of one half; the others are the mother's.
        return np.where(mix_D < 0.5, np.clip(mixed_D, 0.0, 1.0), mother)

    def _mutate(self, genome: Genome) -> Genome:
        dimension = self._cells.dimension
        u_D, chance_D, name_D = self._generator.random((3, dimension))
        exponent = 1 / (_MUTATION_INDEX + 1)
        room_D = np.where(u_D < 0.5, genome, 1 - genome)
        base_D = np.where(u_D < 0.5, u_D, 1 - u_D) * 2
        tail_D = (base_D + (1 - base_D) * (1 - room_D) ** (_MUTATION_INDEX + 1)) ** exponent
        step_D = np.where(u_D < 0.5, tail_D - 1, 1 - tail_D)
        # A step inside a cell would change nothing: cut genes move by one cell at least.
        cell_D = 1 / np.maximum(self._cells.counts, 1)
        whole_D = np.where(
            np.abs(step_D) < cell_D, np.sign(step_D + _LEAST_SPREAD) * cell_D, step_D
        )
        step_D = np.where(self._cells.discrete, whole_D, step_D)
        moved_D = np.where(self._names, name_D, genome + step_D)
        mutated_D = chance_D < 1 / dimension
        return np.where(mutated_D, np.clip(moved_D, 0.0, 1.0), genome)
