"""Genomes as a kernel sees them: names without an order are equally far from each other.

Shapes: D genes, F features, M genomes.
"""

import numpy as np

from evomerge.space import Genome
from evomerge.strategy.cells import Cells
from evomerge.strategy.gp.process import Floats


class Features:
    """The way from genomes to features: unordered genes become one column for each value."""

    def __init__(self, cells: Cells) -> None:
        self._cells = cells
        self._names = np.flatnonzero(cells.discrete & ~cells.ordered & (cells.counts > 2))
        self._numbers = np.setdiff1d(np.arange(cells.dimension), self._names)
        self.count = len(self._numbers) + int(cells.counts[self._names].sum())

    def of(self, genomes_MD: Genome) -> Floats:
        """Features [M, F] of genomes [M, D]; numbers first, as they are."""
        index_MD = self._cells.index(genomes_MD)
        # Two names are as far apart as the ends of the box.
        names = [
            np.eye(self._cells.counts[gene])[index_MD[:, gene]] / np.sqrt(2) for gene in self._names
        ]
        return np.concatenate([genomes_MD[:, self._numbers], *names], axis=1)

    @property
    def free(self) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Which of the features may take any value; shape [F]."""
        free_F = np.zeros(self.count, dtype=bool)
        free_F[: len(self._numbers)] = ~self._cells.discrete[self._numbers]
        return free_F

    def back(self, genome_D: Genome, features_F: Floats) -> Genome:
        """The genome with the free features put into it."""
        genome = genome_D.copy()
        free = ~self._cells.discrete
        genome[free] = features_F[self.free]
        return genome

    def gene_lengths(self, lengths_F: Floats) -> Floats:
        """The length scale of each gene, from those of features; shape [D]."""
        lengths = np.full(self._cells.dimension, np.exp(np.log(lengths_F).mean()))
        lengths[self._numbers] = lengths_F[: len(self._numbers)]
        return lengths
