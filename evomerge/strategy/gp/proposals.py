"""Genomes worth a thought: a first design around the start, and candidates around the best.

In many dimensions most candidates change only some genes: far more of them stay where the model knows
anything (Regis & Shoemaker 2013, Combining Radial Basis Function Surrogates and Dynamic Coordinate
Search). Shapes: D genes, M genomes.
"""

import numpy as np

from evomerge.space import Genome
from evomerge.strategy.cells import Cells

_CANDIDATES = 384
_ALL = 4096
_CHANGED = 20
"""About so many genes are changed at once."""
_DESIGN_TRIES = 32
_DESIGN_SPREAD = 0.6
_NEAR_VALUES = 8


class Proposals:
    """Draws genomes of a space from a private generator."""

    def __init__(self, cells: Cells, sigma0: float, generator: np.random.Generator) -> None:
        self._cells, self._sigma0, self._generator = cells, sigma0, generator

    def design(self, start_D: Genome, known: list[Genome]) -> Genome:
        """Of some genomes around `start_D` the one that is farthest from all known ones."""
        shape = (_DESIGN_TRIES, self._cells.dimension)
        steps_MD = self._generator.standard_normal(shape) * self._sigma0 * _DESIGN_SPREAD
        tries_MD = self._cells.snap(self._renamed(_reflect(start_D + steps_MD), 0.5))
        away_NMD = np.array(known)[:, None] - tries_MD
        nearest_M = np.einsum("nmd,nmd->nm", away_NMD, away_NMD).min(0)
        best: Genome = tries_MD[int(np.argmax(nearest_M))]
        return best

    def around(self, centre_D: Genome, low_D: Genome, high_D: Genome) -> Genome:
        """Genomes [M, D]: a quarter anywhere in the box, the others near its centre."""
        shape = (_CANDIDATES, self._cells.dimension)
        near_MD = centre_D + (high_D - low_D) * 0.25 * self._generator.standard_normal(shape)
        changed_MD = self._generator.random(shape) < min(1.0, _CHANGED / shape[1])
        one_M = self._generator.integers(shape[1], size=shape[0])
        changed_MD[np.arange(shape[0]), one_M] = True
        found_MD = np.where(changed_MD, near_MD, centre_D)
        anywhere = shape[0] // 4
        box_MD = low_D + (high_D - low_D) * self._generator.random((anywhere, shape[1]))
        found_MD[:anywhere] = box_MD
        found_MD[-1] = centre_D
        share = min(0.5, 3 / shape[1])
        return self._cells.snap(self._renamed(np.clip(found_MD, low_D, high_D), share))

    def anywhere(self) -> Genome:
        """Genomes [M, D] of the whole box: all there are, if these are not too many."""
        if self._cells.combinations > _ALL:
            return self._cells.snap(self._generator.random((_ALL, self._cells.dimension)))
        counts = self._cells.counts
        index_MD = np.indices(tuple(counts.tolist())).reshape(len(counts), -1).T
        return self._cells.middle(index_MD)

    def neighbours(self, genome_D: Genome) -> Genome:
        """The genome itself, first, and all that differ from it in the value of one cut gene: in any
        value where these are few or have no order, else in the next ones up and down."""
        found = [genome_D]
        index_D = self._cells.index(genome_D)
        for gene in np.flatnonzero(self._cells.counts > 1):
            values = np.array(self._other_values(int(gene), int(index_D[gene])))
            others_MD = np.repeat(genome_D[None], len(values), axis=0)
            others_MD[:, gene] = (values + 0.5) / self._cells.counts[gene]
            found.extend(others_MD)
        return np.array(found)

    def _other_values(self, gene: int, value: int) -> list[int]:
        count = int(self._cells.counts[gene])
        if count <= _NEAR_VALUES or not self._cells.ordered[gene]:
            return [other for other in range(count) if other != value]
        return [other for other in (value - 1, value + 1) if 0 <= other < count]

    def _renamed(self, genomes_MD: Genome, share: float) -> Genome:
        """Values of unordered genes drawn anew for the given share of them."""
        names = self._cells.discrete & ~self._cells.ordered
        if not names.any():
            return genomes_MD
        drawn_MD = self._generator.random(genomes_MD.shape) < share
        return np.where(names & drawn_MD, self._generator.random(genomes_MD.shape), genomes_MD)


def _reflect(genomes_MD: Genome) -> Genome:
    """Fold what lies outside the box back into it."""
    folded_MD = np.abs(genomes_MD) % 2.0
    return np.where(folded_MD > 1, 2 - folded_MD, folded_MD)
