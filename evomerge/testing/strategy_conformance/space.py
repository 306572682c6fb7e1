"""Where strategies look: in the box, in corners, in the middle of cells."""

import numpy as np
import pytest

from evomerge.testing.strategy_conformance.problems import (
    DIMENSIONS,
    MIXED,
    ORDERED,
    Maker,
    Problem,
    in_box,
    walk,
)


class SpaceTests(Maker):
    """Shapes, borders, cut genes."""

    @pytest.mark.parametrize("dimension", DIMENSIONS)
    def test_genomes_lie_in_the_box_however_wide_the_first_step(self, dimension: int) -> None:
        strategy = self.make(Problem(dimension, sigma0=1.0))
        for genome, _ in walk(strategy, 40, self.plateaus):
            assert genome.shape == (dimension,)
            assert genome.dtype == np.float64
            assert in_box(genome)

    @pytest.mark.parametrize("corner", [0.0, 1.0])
    def test_a_search_may_start_in_a_corner(self, corner: float) -> None:
        strategy = self.make(Problem(6, at=corner))
        assert all(in_box(genome) for genome, _ in walk(strategy, 40, self.plateaus))

    def test_cut_genes_are_asked_for_in_the_middle_of_their_cells(self) -> None:
        strategy = self.make(Problem(len(MIXED), cells=MIXED, ordered=ORDERED))
        for genome, _ in walk(strategy, 40, self.plateaus):
            for gene, count in zip(genome, MIXED, strict=True):
                place = gene * count - 0.5
                assert count == 0 or abs(place - round(place)) < 1e-9

    @pytest.mark.parametrize("ordered", [True, False])
    def test_a_space_may_have_cut_genes_only(self, ordered: bool) -> None:
        cells = (2, 3, 4, 5)
        strategy = self.make(Problem(4, cells=cells, ordered=(ordered,) * 4))
        told = walk(strategy, 40, self.plateaus)
        assert len({genome.tobytes() for genome, _ in told}) > 10

    def test_a_gene_with_one_value_keeps_it(self) -> None:
        strategy = self.make(Problem(3, at=0.5, cells=(0, 1, 4)))
        assert {float(genome[1]) for genome, _ in walk(strategy, 40, self.plateaus)} == {0.5}

    def test_what_it_recommends_lies_in_the_box_or_is_nothing(self) -> None:
        for cells in ((), MIXED):
            strategy = self.make(Problem(len(MIXED), cells=cells))
            for _ in range(40):
                walk(strategy, 1, self.plateaus)
                recommended = strategy.recommend()
                if recommended is not None:
                    assert recommended.shape == (len(MIXED),)
                    assert in_box(recommended)

    @pytest.mark.parametrize("size", [2, 3, 9])
    def test_the_population_has_the_size_that_was_asked_for(self, size: int) -> None:
        strategy = self.make(Problem(4, population_size=size))
        assert strategy.population_size == size
        assert 1 <= strategy.parents <= size
        assert all(in_box(genome) for genome, _ in walk(strategy, 40, self.plateaus))
