"""Genes that take a few values only: [0, 1] cut into equal cells, each value in the middle of one.

A strategy that asks for middles alone never asks for the same recipe in two ways.
"""

import math
from collections.abc import Sequence

import numpy as np

from evomerge.space import Genome

CELL_SPREAD = 0.3
"""A cut gene's standard deviation stays above so much of a cell: from the middle of one, every tenth
genome leaves it, and no value is lost for good."""

_UNCHANGED = 0.73


class Cells:
    """What is known of each gene of a space.

    Args:
        cells: into how many values each gene is cut; 0 for a continuum.
        ordered: whether the values of a cut gene lie in an order (integers) or are mere names
            (choices). Not given: ordered.
    """

    def __init__(self, cells: Sequence[int], ordered: Sequence[bool] = ()) -> None:
        self.counts = np.array(cells, dtype=np.int64)
        self.ordered = np.array(ordered if len(ordered) else [True] * len(cells), dtype=bool)
        if len(self.ordered) != len(self.counts):
            raise ValueError(f"{len(self.ordered)} orders for {len(self.counts)} genes")

    @property
    def dimension(self) -> int:
        return len(self.counts)

    @property
    def discrete(self) -> "np.ndarray[tuple[int], np.dtype[np.bool_]]":
        """Which genes are cut."""
        found: np.ndarray[tuple[int], np.dtype[np.bool_]] = self.counts > 0
        return found

    @property
    def combinations(self) -> float:
        """How many different genomes there are; infinite where a gene is a continuum."""
        return math.prod(self.counts.tolist()) if self.discrete.all() else math.inf

    def index(self, genome: Genome) -> "np.ndarray[tuple[int, ...], np.dtype[np.int64]]":
        """The cell that each gene lies in, 0 for those of a continuum; shape [D] or [M, D]."""
        cell = np.floor(genome * self.counts).astype(np.int64)
        return np.clip(cell, 0, np.maximum(self.counts - 1, 0))

    def middle(self, index: "np.ndarray[tuple[int, ...], np.dtype[np.int64]]") -> Genome:
        """Genes in the middle of the given cells; 0.5 for those of a continuum."""
        middles: Genome = (index + 0.5) / np.maximum(self.counts, 1)
        return middles

    def snap(self, genome: Genome) -> Genome:
        """The genome in the box, cut genes in the middle of their cells; shape [D] or [M, D]."""
        inside: Genome = np.clip(genome, 0.0, 1.0)
        return np.where(self.discrete, self.middle(self.index(inside)), inside)

    def mutated(self, genome: Genome, generator: np.random.Generator) -> Genome:
        """The genome with a small chance for each cut gene to lie in another cell: the next one up or
        down, or of names any other. About every fourth genome is changed (Hamano et al. 2022, CMA-ES
        with Margin, hold the same chance)."""
        cut = np.flatnonzero(self.counts > 1)
        if not len(cut):
            return genome
        chance = 1 - _UNCHANGED ** (1 / len(cut))
        drawn, share = generator.random((2, len(cut)))
        mutated = genome.copy()
        for gene, where in zip(cut[drawn < chance], share[drawn < chance], strict=True):
            value = self._other_value(int(gene), float(genome[gene]), float(where))
            mutated[gene] = (value + 0.5) / self.counts[gene]
        return mutated

    def _other_value(self, gene: int, at: float, share: float) -> int:
        count = int(self.counts[gene])
        value = min(max(int(at * count), 0), count - 1)
        if not self.ordered[gene]:
            return (value + 1 + int(share * (count - 1))) % count
        step = 1 if share < 0.5 else -1
        return value + step if 0 <= value + step < count else value - step
