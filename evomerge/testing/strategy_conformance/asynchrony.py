"""Results come late, in any order, and of genomes that the strategy never asked for."""

import numpy as np
import pytest

from evomerge.strategy import Observation
from evomerge.testing.strategy_conformance.problems import (
    MIXED,
    ORDERED,
    Maker,
    Problem,
    genomes_of,
    in_box,
    same,
    walk,
    walk_in_parallel,
)


class AsynchronyTests(Maker):
    """No generation, no barrier."""

    @pytest.mark.parametrize("workers", [2, 64])
    @pytest.mark.parametrize("cells", [(), MIXED])
    def test_many_workers_are_kept_busy_and_repeat_themselves(
        self, workers: int, cells: tuple[int, ...]
    ) -> None:
        problem = Problem(
            len(MIXED), cells=cells, ordered=ORDERED if cells else (), workers=workers
        )
        runs = [walk_in_parallel(self.make(problem), 80, self.plateaus, workers) for _ in range(2)]
        assert same(*map(genomes_of, runs))
        assert all(in_box(genome) for genome in genomes_of(runs[0]))

    def test_sixty_four_genomes_asked_for_at_once_differ(self) -> None:
        strategy = self.make(Problem(workers=64))
        walk(strategy, 20, self.plateaus)
        asked = [strategy.ask() for _ in range(64)]
        assert all(in_box(genome) for genome in asked)
        assert len({genome.tobytes() for genome in asked}) > 60

    def test_results_in_another_order_are_taken(self) -> None:
        strategy = self.make(Problem(7))
        generator = np.random.default_rng(3)
        for _ in range(4):
            asked = [strategy.ask() for _ in range(20)]
            for place in generator.permutation(20):
                strategy.tell(asked[place], self.plateaus(asked[place]))
        assert in_box(strategy.ask())

    def test_results_of_others_are_taken_before_and_during_a_search(self) -> None:
        generator = np.random.default_rng(4)
        strategy = self.make(Problem(7))
        for _ in range(40):
            stranger = generator.random(7)
            strategy.tell(stranger, self.plateaus(stranger))
            assert all(in_box(genome) for genome, _ in walk(strategy, 1, self.plateaus))
        recommended = strategy.recommend()
        assert recommended is None or in_box(recommended)

    def test_results_of_others_before_the_first_ask_replay_too(self) -> None:
        def run() -> list[bytes]:
            strategy = self.make(Problem(7))
            generator = np.random.default_rng(5)
            for corner in generator.random((12, 7)).round():
                strategy.tell(corner, self.plateaus(corner))
            strategy.tell(np.full(7, 0.5), Observation(None))
            return [genome.tobytes() for genome, _ in walk(strategy, 30, self.plateaus)]

        assert run() == run()

    def test_a_genome_told_twice_breaks_nothing(self) -> None:
        strategy = self.make(Problem())
        for _ in range(30):
            genome = strategy.ask()
            strategy.tell(genome, self.plateaus(genome))
            strategy.tell(genome, self.plateaus(genome))
        assert in_box(strategy.ask())
