"""A strategy is a function of its seed and of what it was told, and of nothing else."""

import numpy as np
import pytest

from evomerge.testing.strategy_conformance.problems import (
    DIMENSIONS,
    MIXED,
    ORDERED,
    Maker,
    Problem,
    genomes_of,
    same,
    walk,
)


class RepetitionTests(Maker):
    """Replay, privacy of generators, independence of instances."""

    @pytest.mark.parametrize("dimension", DIMENSIONS)
    def test_the_same_seed_and_results_give_bit_identical_genomes(self, dimension: int) -> None:
        problem = Problem(dimension)
        first, second = (walk(self.make(problem), 30, self.plateaus) for _ in range(2))
        assert same(genomes_of(first), genomes_of(second))

    def test_a_mixed_space_is_walked_through_in_the_same_way_again(self) -> None:
        problem = Problem(len(MIXED), cells=MIXED, ordered=ORDERED)
        first, second = (walk(self.make(problem), 60, self.plateaus) for _ in range(2))
        assert same(genomes_of(first), genomes_of(second))

    @pytest.mark.parametrize("dimension", DIMENSIONS)
    def test_another_seed_gives_other_genomes(self, dimension: int) -> None:
        first, second = (
            walk(self.make(Problem(dimension, seed)), 20, self.plateaus) for seed in (0, 1)
        )
        assert not same(genomes_of(first), genomes_of(second))

    @pytest.mark.parametrize("dimension", DIMENSIONS)
    @pytest.mark.parametrize("told", [9, 40])
    def test_a_replayed_history_leads_to_the_same_next_genomes(
        self, dimension: int, told: int
    ) -> None:
        original = self.make(Problem(dimension))
        history = walk(original, told, self.plateaus)
        resumed = self.make(Problem(dimension))
        for genome, observation in history:
            resumed.ask()
            # Through a list of Python floats, as a store gives it back.
            resumed.tell(np.array(genome.tolist()), observation)
        assert same([resumed.ask() for _ in range(9)], [original.ask() for _ in range(9)])

    def test_numpys_global_generator_neither_matters_nor_moves(self) -> None:
        np.random.seed(1)
        before = np.random.get_state()[1].copy()  # type: ignore[index]
        first = walk(self.make(Problem()), 30, self.plateaus)
        assert (np.random.get_state()[1] == before).all()  # type: ignore[index]
        np.random.seed(2)
        second = walk(self.make(Problem()), 30, self.plateaus)
        assert same(genomes_of(first), genomes_of(second))

    def test_two_strategies_in_one_process_do_not_disturb_each_other(self) -> None:
        alone = walk(self.make(Problem()), 30, self.plateaus)
        left, right = self.make(Problem()), self.make(Problem(seed=9))
        mixed = []
        for _ in range(30):
            mixed += walk(left, 1, self.plateaus)
            walk(right, 1, self.plateaus)
        assert same(genomes_of(alone), genomes_of(mixed))

    def test_changing_a_genome_after_it_was_asked_or_told_changes_nothing(self) -> None:
        clean, spoilt = self.make(Problem()), self.make(Problem())
        for _ in range(30):
            genome = clean.ask()
            observation = self.plateaus(genome)
            clean.tell(genome, observation)
            asked = spoilt.ask()
            asked[:] = 0.123
            told = genome.copy()
            spoilt.tell(told, observation)
            told[:] = 0.321
        assert same([clean.ask() for _ in range(9)], [spoilt.ask() for _ in range(9)])

    def test_looking_at_a_strategy_changes_nothing(self) -> None:
        looked_at, left_alone = self.make(Problem()), self.make(Problem())
        for _ in range(8):
            for strategy in (looked_at, left_alone):
                asked = [strategy.ask() for _ in range(5)]
                for genome in asked:
                    strategy.tell(genome, self.plateaus(genome))
                    if strategy is looked_at:
                        strategy.recommend()
                        _ = strategy.stop_reason, strategy.population_size, strategy.parents
        assert same([looked_at.ask()], [left_alone.ask()])
