"""What every strategy promises: a pure function of its seed and of what it was told."""

from collections.abc import Callable, Sequence
from itertools import pairwise

import numpy as np
import pytest

from evomerge.space import Genome
from evomerge.spec import StrategySpec
from evomerge.strategy import Strategy, make_strategy

NAMES = sorted(StrategySpec.model_fields["name"].annotation.__args__)
DIMENSIONS = (1, 2, 7, 43)

every_strategy = pytest.mark.parametrize("name", NAMES)
every_dimension = pytest.mark.parametrize("dimension", DIMENSIONS)


def sphere(genome: Genome) -> float:
    return float(((genome - 0.7) ** 2).sum())


def noisy_plateau(genome: Genome) -> float:
    """Ties and a rank that counts for failed candidates, as real losses have."""
    return round(sphere(genome), 1) if genome[0] < 0.9 else 1e6


def made(name: str, dimension: int, seed: int = 0, **settings: object) -> Strategy:
    spec = StrategySpec(name=name, seed=seed, **settings)
    return make_strategy(spec, np.full(dimension, 0.4))


def run(
    strategy: Strategy, generations: int, loss: Callable[[Genome], float] = noisy_plateau
) -> list[tuple[list[Genome], list[float]]]:
    history = []
    for _ in range(generations):
        asked = strategy.ask()
        losses = [loss(genome) for genome in asked]
        strategy.tell(asked, losses)
        history.append(([genome.copy() for genome in asked], losses))
    return history


def same(left: Sequence[Genome], right: Sequence[Genome]) -> bool:
    return len(left) == len(right) and all(
        a.tobytes() == b.tobytes() for a, b in zip(left, right, strict=True)
    )


@every_strategy
@every_dimension
def test_the_same_seed_and_losses_give_bit_identical_asks(name: str, dimension: int) -> None:
    first, second = (run(made(name, dimension), 6) for _ in range(2))
    assert all(same(a, b) for (a, _), (b, _) in zip(first, second, strict=True))


@every_strategy
@every_dimension
def test_another_seed_gives_other_asks(name: str, dimension: int) -> None:
    first, second = (run(made(name, dimension, seed), 2) for seed in (0, 1))
    assert not same(first[1][0], second[1][0])


@every_strategy
@every_dimension
@pytest.mark.parametrize("told", [1, 3, 8])
def test_a_replayed_history_leads_to_the_same_next_generation(
    name: str, dimension: int, told: int
) -> None:
    original = made(name, dimension)
    history = run(original, told)
    resumed = made(name, dimension)
    for genomes, losses in history:
        resumed.ask()
        # Through lists of Python floats, as a store gives them back.
        resumed.tell([np.array(genome.tolist()) for genome in genomes], losses)
    assert same(resumed.ask(), original.ask())


@every_strategy
@every_dimension
def test_asks_lie_in_the_unit_box_and_have_the_population_s_size(name: str, dimension: int) -> None:
    strategy = made(name, dimension, sigma0=1.0)
    for genomes, _ in run(strategy, 10):
        assert len(genomes) == strategy.population_size
        for genome in genomes:
            assert genome.shape == (dimension,)
            assert genome.dtype == np.float64
            assert ((genome >= 0) & (genome <= 1)).all()


@every_strategy
def test_numpy_s_global_generator_neither_matters_nor_moves(name: str) -> None:
    np.random.seed(1)
    strategy = made(name, 5)
    before = np.random.get_state()[1].copy()
    first = run(strategy, 3)
    assert (np.random.get_state()[1] == before).all()
    np.random.seed(2)
    second = run(made(name, 5), 3)
    assert all(same(a, b) for (a, _), (b, _) in zip(first, second, strict=True))


@every_strategy
def test_two_strategies_in_one_process_do_not_disturb_each_other(name: str) -> None:
    alone = run(made(name, 5), 4)
    left, right = made(name, 5), made(name, 5, seed=9)
    mixed = []
    for _ in range(4):
        mixed += run(left, 1)
        run(right, 1)
    assert all(same(a, b) for (a, _), (b, _) in zip(alone, mixed, strict=True))


@every_strategy
@pytest.mark.parametrize("size", [2, 3, 9])
def test_the_population_has_the_size_that_was_asked_for(name: str, size: int) -> None:
    strategy = made(name, 4, population_size=size)
    assert strategy.population_size == size
    assert all(len(genomes) == size for genomes, _ in run(strategy, 3))


@every_strategy
@pytest.mark.parametrize("corner", [0.0, 1.0])
def test_a_search_may_start_in_a_corner_of_the_box(name: str, corner: float) -> None:
    strategy = make_strategy(StrategySpec(name=name), np.full(6, corner))
    for genomes, _ in run(strategy, 5):
        assert all(((genome >= 0) & (genome <= 1)).all() for genome in genomes)


@every_strategy
def test_equal_losses_and_huge_losses_break_nothing(name: str) -> None:
    strategy = made(name, 5)
    for loss in (0.0, 1e300, 0.0, -1e300):
        run(strategy, 3, lambda _, loss=loss: loss)
    assert np.isfinite(strategy.ask()).all()


@every_strategy
def test_what_it_recommends_lies_in_the_box_or_is_nothing(name: str) -> None:
    strategy = made(name, 5)
    run(strategy, 4)
    recommended = strategy.recommend()
    if recommended is not None:
        assert recommended.shape == (5,)
        assert ((recommended >= 0) & (recommended <= 1)).all()


def test_changing_an_asked_genome_afterwards_changes_nothing() -> None:
    left, right = made("cma", 4), made("cma", 4)
    for spoil in (True, False):
        strategy = left if spoil else right
        for _ in range(3):
            asked = strategy.ask()
            losses = [sphere(genome) for genome in asked]
            if spoil:
                for genome in asked:
                    genome[:] = 0.123
            strategy.tell(asked, losses)
    assert same(left.ask(), right.ask())


@pytest.mark.parametrize("dimension", [1, 2, 10])
def test_cma_gets_better_on_a_sphere(dimension: int) -> None:
    strategy = made("cma", dimension)
    best = [min(losses) for _, losses in run(strategy, 100, sphere)]
    assert min(best[-5:]) < 1e-3 * max(best[0], 1e-2)
    assert np.allclose(strategy.recommend(), 0.7, atol=0.02)


def test_cma_beats_random_search_on_a_tilted_valley() -> None:
    def valley(genome: Genome) -> float:
        return sum(100 * (b - a) ** 2 + (a - 0.3) ** 2 for a, b in pairwise(genome.tolist()))

    best = {
        name: min(min(losses) for _, losses in run(made(name, 6, population_size=10), 60, valley))
        for name in ("cma", "random")
    }
    assert best["cma"] < 0.1 * best["random"]


def test_cma_stops_by_itself_only_when_nothing_moves_any_more() -> None:
    strategy = made("cma", 2)
    assert strategy.stop_reason is None
    run(strategy, 5, sphere)
    assert strategy.stop_reason is None
    for _ in range(60):
        run(strategy, 10, sphere)
        if strategy.stop_reason:
            break
    assert "converged" in str(strategy.stop_reason)
