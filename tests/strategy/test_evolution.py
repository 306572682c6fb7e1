"""CMA-ES and its relatives: they get better, take late results, and keep cut genes moving."""

from itertools import pairwise

import numpy as np
import pytest

from evomerge.space import Genome
from evomerge.strategy import Observation
from tests.strategy.functions import bowl, made, minimise, rastrigin, sphere


@pytest.mark.parametrize("name", ["cma", "sep-cma", "lra-cma", "catcma", "ipop", "bipop"])
@pytest.mark.parametrize("dimension", [1, 2, 10])
def test_a_sphere_is_descended(name: str, dimension: int) -> None:
    strategy = made(name, dimension)
    values = minimise(strategy, sphere, 1500 if name == "lra-cma" else 500)
    assert min(values) < (1e-2 if name == "lra-cma" else 1e-3) * values[0]
    if name not in ("ipop", "bipop"):
        assert np.allclose(strategy.recommend(), 0.7, atol=0.05)


def test_cma_beats_random_search_on_a_tilted_valley() -> None:
    def valley(genome: Genome) -> float:
        return sum(100 * (b - a) ** 2 + (a - 0.3) ** 2 for a, b in pairwise(genome.tolist()))

    best = {name: min(minimise(made(name, 6), valley, 600)) for name in ("cma", "random")}
    assert best["cma"] < 0.1 * best["random"]


def test_adapted_learning_rates_get_closer_under_strong_noise() -> None:
    def last(name: str, seed: int) -> float:
        function = bowl(6, seed)
        strategy = made(name, 6, seed=seed)
        minimise(strategy, function, 3000, noise=0.3, seed=seed)
        return function(strategy.recommend())

    ours, plain = (
        np.median([last(name, seed) for seed in range(5)]) for name in ("lra-cma", "cma")
    )
    assert ours < plain


@pytest.mark.parametrize("name", ["cma", "sep-cma", "lra-cma", "catcma"])
@pytest.mark.parametrize("dimension", [6, 24])
def test_results_that_come_sixty_four_asks_late_still_lead_down(name: str, dimension: int) -> None:
    function = bowl(dimension, 0)
    strategy = made(name, dimension, workers=64)
    generator = np.random.default_rng(0)
    running, values = [], []
    for _ in range(1200):
        while len(running) < 64:
            running.append(strategy.ask())
        genome = running.pop(int(generator.integers(64)))
        values.append(function(genome))
        strategy.tell(genome, Observation((values[-1],)))
    # Neither torn up nor frozen: the last hundred lie far below the start, whose value is 1.
    assert np.median(values[-100:]) < (0.05 if dimension == 6 else 0.5)
    assert np.median(values[-100:]) < np.median(values[-600:-500])


@pytest.mark.parametrize("name", ["cma", "sep-cma", "lra-cma", "catcma"])
def test_foreign_results_far_away_do_not_tear_up_the_step(name: str) -> None:
    strategy = made(name, 5, sigma0=0.05)
    minimise(strategy, sphere, 300)
    near = np.abs(np.array([strategy.ask() for _ in range(20)]) - 0.7).max()
    for corner in np.eye(5)[:4]:
        strategy.tell(corner, Observation((-1.0,)))
    minimise(strategy, sphere, 40)
    assert np.abs(np.array([strategy.ask() for _ in range(20)]) - 0.7).max() < 40 * near + 0.05


@pytest.mark.parametrize("name", ["cma", "sep-cma", "lra-cma", "catcma"])
def test_it_begins_at_the_best_genome_told_before_the_first_ask(name: str) -> None:
    strategy = made(name, 8, sigma0=0.01)
    for at, loss in ((0.1, 3.0), (0.8, 1.0), (0.3, 2.0)):
        strategy.tell(np.full(8, at), Observation((loss,)))
    strategy.tell(np.full(8, 0.2), Observation((0.0,), violation=1.0))
    strategy.tell(np.full(8, 0.9), Observation(None))
    assert np.allclose([strategy.ask() for _ in range(10)], 0.8, atol=0.1)


@pytest.mark.parametrize("name", ["cma", "sep-cma", "lra-cma", "catcma"])
@pytest.mark.parametrize("ordered", [True, False])
def test_no_value_of_a_cut_gene_is_lost_for_good(name: str, ordered: bool) -> None:
    cells = (0, 0, 4, 2, 3)
    strategy = made(name, 5, cells=cells, ordered=(ordered,) * 5)
    minimise(strategy, sphere, 600)
    late = np.array([strategy.ask() for _ in range(300)])
    assert all(len(np.unique(late[:, gene])) > 1 for gene in (2, 3, 4))


def test_catcma_finds_names_without_an_order() -> None:
    """The best name of four lies between the two worst, so no direction leads there."""
    badness = np.array([0.3, 1.0, 0.0, 1.0])

    def loss(genome: Genome) -> float:
        return sphere(genome[:3]) + float(badness[(genome[3:] * 4).astype(int)].sum())

    strategy = made("catcma", 6, cells=(0, 0, 0, 4, 4, 4), ordered=(False,) * 6)
    minimise(strategy, loss, 700)
    assert ((strategy.recommend()[3:] * 4).astype(int) == 2).all()


def test_cma_stops_by_itself_only_when_nothing_moves_any_more() -> None:
    strategy = made("cma", 2)
    minimise(strategy, sphere, 60)
    assert strategy.stop_reason is None
    for _ in range(60):
        minimise(strategy, sphere, 20)
        if strategy.stop_reason:
            break
    assert "converged" in str(strategy.stop_reason)


@pytest.mark.parametrize("name", ["ipop", "bipop"])
def test_restarts_find_a_lower_optimum_than_one_run(name: str) -> None:
    def best(strategy_name: str, seed: int) -> float:
        start = np.full(4, 0.15)
        strategy = made(strategy_name, 4, start=start, sigma0=0.05, seed=seed)
        return min(minimise(strategy, rastrigin, 3000))

    assert np.median([best(name, seed) for seed in range(3)]) < np.median(
        [best("cma", seed) for seed in range(3)]
    )


def test_each_restart_of_ipop_has_twice_the_population() -> None:
    strategy = made("ipop", 2)
    sizes = [strategy.population_size]
    for _ in range(1200):
        minimise(strategy, sphere, 1)
        if strategy.population_size != sizes[-1]:
            sizes.append(strategy.population_size)
    assert len(sizes) > 2
    assert all(after == 2 * before for before, after in pairwise(sizes))


def test_a_late_result_of_a_former_run_does_not_move_the_present_one() -> None:
    with_late, without = made("ipop", 2), made("ipop", 2)
    late = [strategy.ask() for strategy in (with_late, without)]
    size = with_late.population_size
    for strategy in (with_late, without):
        while strategy.population_size == size:
            minimise(strategy, sphere, 1)
    with_late.tell(late[0], Observation((-5.0,)))
    assert [with_late.ask().tolist() for _ in range(20)] == [
        without.ask().tolist() for _ in range(20)
    ]
