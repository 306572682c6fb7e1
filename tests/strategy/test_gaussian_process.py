"""The model of small budgets: right derivatives, few candidates, nothing asked twice."""

import numpy as np
import pytest

from evomerge.space import Genome
from evomerge.strategy import Observation
from evomerge.strategy.cells import Cells
from evomerge.strategy.gp.acquisition import LogImprovement
from evomerge.strategy.gp.features import Features
from evomerge.strategy.gp.losses import standardise
from evomerge.strategy.gp.process import Hyperparameters, Posterior, fit
from tests.strategy.functions import bowl, made, minimise, sphere


def data(count: int, dimension: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng([count, dimension])
    x_ND = generator.random((count, dimension))
    y_N = ((x_ND - 0.3) ** 2).sum(1) + 0.01 * generator.standard_normal(count)
    return x_ND, (y_N - y_N.mean()) / y_N.std(), np.zeros(count)


def test_slopes_are_those_of_mean_and_deviation() -> None:
    x_ND, y_N, extra_N = data(30, 4)
    posterior = Posterior(fit(x_ND, y_N, extra_N), x_ND, y_N, extra_N)
    at_D, step = np.array([0.2, 0.9, 0.4, 0.6]), 1e-5
    mean, deviation, mean_D, deviation_D = posterior.slopes(at_D)
    assert np.allclose([[mean], [deviation]], posterior.predict(at_D[None]))
    for gene in range(4):
        either = at_D + step * np.array([[1], [-1]]) * np.eye(4)[gene]
        means, deviations = posterior.predict(either)
        assert mean_D[gene] == pytest.approx((means[0] - means[1]) / (2 * step), rel=1e-3, abs=1e-4)
        wanted = (deviations[0] - deviations[1]) / (2 * step)
        assert deviation_D[gene] == pytest.approx(wanted, rel=1e-3, abs=1e-4)


def test_fitted_hyperparameters_are_a_summit_of_the_posterior() -> None:
    from evomerge.strategy.gp import process

    x_ND, y_N, extra_N = data(40, 3)
    logs, prior = fit(x_ND, y_N, extra_N).to_logs(), process._prior_means(3)
    top, slope = process._badness(logs, x_ND, y_N, extra_N, prior)
    assert np.abs(slope).max() < 1e-2
    for direction in np.eye(len(logs)):
        for side in (-0.3, 0.3):
            assert process._badness(logs + side * direction, x_ND, y_N, extra_N, prior)[0] > top


def test_the_posterior_goes_through_certain_points_and_passes_uncertain_ones_by() -> None:
    x_ND, y_N, _ = data(12, 2)
    parameters = Hyperparameters(1.0, 1e-6, 0.5, np.ones(2))
    extra_N = np.zeros(12)
    extra_N[3] = 100.0
    mean_N, deviation_N = Posterior(parameters, x_ND, y_N + 5.0 * (extra_N > 0), extra_N).predict(
        x_ND
    )
    certain = extra_N == 0
    assert np.allclose(mean_N[certain], y_N[certain], atol=1e-2)
    assert abs(mean_N[3] - y_N[3]) < 1.0
    assert deviation_N[3] > deviation_N[certain].max()


def test_expected_improvement_is_what_drawing_from_the_posterior_gives() -> None:
    x_ND, y_N, extra_N = data(15, 2)
    posterior = Posterior(Hyperparameters(1.0, 1e-2, 0.5, np.ones(2)), x_ND, y_N, extra_N)
    at_MD = np.random.default_rng(0).random((5, 2))
    mean_M, deviation_M = posterior.predict(at_MD)
    best = float(y_N.min()) + 0.5
    draws = mean_M + deviation_M * np.random.default_rng(1).standard_normal((400_000, 5))
    wanted = np.maximum(best - draws, 0).mean(0)
    assert np.allclose(np.exp(LogImprovement(posterior, best).at(at_MD)), wanted, atol=2e-3)


def test_log_expected_improvement_keeps_its_order_where_the_improvement_itself_is_0() -> None:
    x_ND, y_N, extra_N = data(15, 1)
    posterior = Posterior(Hyperparameters(1.0, 1e-6, 0.3, np.ones(1)), x_ND, y_N, extra_N)
    value = LogImprovement(posterior, -1e3).at(np.linspace(0, 1, 50)[:, None])
    assert np.isfinite(value).all()
    assert (np.exp(value) == 0).all()
    assert len(np.unique(value)) == 50


def test_names_without_an_order_are_equally_far_from_each_other() -> None:
    features = Features(Cells((0, 4, 3), (True, False, True)))
    names = features.of(np.array([[0.5, (name + 0.5) / 4, 0.5] for name in range(4)]))
    distances = np.linalg.norm(names[:, None] - names, axis=2)
    assert np.allclose(distances, 1 - np.eye(4))


def test_a_collapsed_merge_does_not_flatten_the_others() -> None:
    losses = [0.50, 0.52, 0.55, 0.51, 0.58]
    calm, _ = standardise([Observation((loss,)) for loss in losses])
    wild, _ = standardise([Observation((loss,)) for loss in [*losses, 1e6]])
    assert np.ptp(wild[:5]) > 0.3 * np.ptp(calm)
    assert wild.argmax() == 5


def test_only_the_error_beyond_the_surest_counts_against_a_candidate() -> None:
    _, same = standardise([Observation((loss,), (0.04,)) for loss in (0.1, 0.2, 0.4)])
    assert (same == 0).all()
    _, other = standardise([Observation((0.1,), (0.04,)), Observation((0.2,), (0.2,))])
    assert other[0] == 0
    assert other[1] > 1


@pytest.mark.parametrize(("dimension", "theirs"), [(4, 100), (24, 200)])
def test_forty_candidates_reach_what_takes_cma_many_more(dimension: int, theirs: int) -> None:
    def reached(name: str, count: int, seed: int) -> float:
        function = bowl(dimension, seed)
        strategy = made(name, dimension, seed=seed, budget=count)
        minimise(strategy, function, count, noise=0.02, seed=seed)
        return function(strategy.recommend())

    ours = np.median([reached("gp", 40, seed) for seed in range(3)])
    assert ours < np.median([reached("cma", theirs, seed) for seed in range(3)])


def test_what_others_have_scored_is_used_from_the_first_ask_on() -> None:
    function = bowl(6, 1)
    generator = np.random.default_rng(0)
    strategy = made("gp", 6, budget=40)
    for genome in generator.random((60, 6)):
        strategy.tell(genome, Observation((function(genome),)))
    assert minimise(strategy, function, 5)[-1] < 0.3 * function(np.full(6, 0.5))


def test_no_genome_is_asked_for_twice_and_a_small_space_is_tried_to_the_end() -> None:
    strategy = made("gp", 3, cells=(2, 3, 4), ordered=(True, False, True))
    asked = set()
    while strategy.stop_reason is None:
        genome = strategy.ask()
        assert genome.tobytes() not in asked
        asked.add(genome.tobytes())
        strategy.tell(genome, Observation((sphere(genome),)))
    assert len(asked) == 24
    assert "24" in strategy.stop_reason


def test_a_mixed_optimum_is_found() -> None:
    badness = np.array([0.3, 1.0, 0.0, 1.0])

    def loss(genome: Genome) -> float:
        return sphere(genome[:4]) + float(badness[(genome[4:] * 4).astype(int)].sum())

    strategy = made("gp", 6, cells=(0, 0, 0, 3, 4, 4), ordered=(True,) * 4 + (False,) * 2)
    assert min(minimise(strategy, loss, 60)) < 0.03


def test_of_many_results_the_newest_and_the_best_count() -> None:
    from evomerge.strategy.gp.model import _newest_and_best
    from evomerge.strategy.told import Told

    told = Told()
    for genome in np.random.default_rng(0).random((600, 2)):
        told.add(genome, Observation((sphere(genome),)))
    kept = _newest_and_best(told, 400)
    assert len(set(kept.tolist())) == 400
    assert set(range(400, 600)) <= set(kept.tolist())
    values = np.array([sphere(genome) for genome in told.genomes])
    assert set(np.argsort(values[:400])[:200]) <= set(kept.tolist())
