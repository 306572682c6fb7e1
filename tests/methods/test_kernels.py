"""Every method against its definition in float64, over generated tensors."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from evomerge.merging.masks import mask_key
from evomerge.merging.merge import MergeSource
from evomerge.merging.statistics import StatisticsCache
from tests.merging.checkpoints import as_float64, random_weights, recipe, save, tuned
from tests.methods import oracles

NAME = "model.layers.0.mlp.up_proj.weight"
SHAPE = (7, 9)
FLAGS = {"fused": True, "eager": False}
weight = st.floats(-1.5, 1.5).map(lambda x: round(x, 3))
density = st.integers(1, 1000).map(lambda x: x / 1000)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A base and three fine-tunes of one matrix in fp32, with their float64 copies."""
    folder = tmp_path_factory.mktemp("models")
    weights = {"base": random_weights({NAME: SHAPE}, 0, torch.float32)}
    for number, name in enumerate("abc"):
        weights[name] = tuned(weights["base"], number + 1, 0.1)
    paths = {name: save(folder / name, x) for name, x in weights.items()}
    arrays = {name: as_float64(x[NAME]) for name, x in weights.items()}
    sources = {
        mode: MergeSource(paths, fused=flag, cache=StatisticsCache(on_disk=False))
        for mode, flag in FLAGS.items()
    }
    return arrays, sources


def merged(sources, made):
    """The merged matrix; fused and eager must agree in every bit."""
    results = [dict(source.merge(made))[NAME] for source in sources.values()]
    assert torch.equal(results[0], results[1])
    return as_float64(results[0])


def close(got, wanted):
    np.testing.assert_allclose(got, wanted, rtol=2e-5, atol=2e-6)


def cancels(weights):
    return abs(sum(weights)) < 1e-2 * sum(map(abs, weights)) or not any(weights)


@given(st.tuples(weight, weight, weight), st.booleans())
def test_linear_is_the_weighted_average(models, weights, normalize):
    arrays, sources = models
    if normalize and cancels(weights):
        return
    own = {m: {"weight": w} for m, w in zip("abc", weights, strict=True)}
    wanted = oracles.linear([arrays[m] for m in "abc"], weights, normalize)
    close(merged(sources, recipe("linear", own, normalize=normalize)), wanted)


@given(st.tuples(weight, weight, weight), st.booleans(), st.floats(0.1, 2))
def test_task_arithmetic_adds_weighted_deltas(models, weights, normalize, scale):
    arrays, sources = models
    if normalize and cancels(weights):
        return
    own = {m: {"weight": w} for m, w in zip("abc", weights, strict=True)}
    deltas = [arrays[m] - arrays["base"] for m in "abc"]
    wanted = oracles.summed(arrays["base"], deltas, weights, normalize, scale)
    made = recipe("task_arithmetic", own, normalize=normalize, lambda_=scale)
    close(merged(sources, made), wanted)


@given(st.tuples(weight, weight, weight), st.tuples(density, density, density), st.booleans())
def test_ties_trims_elects_and_averages(models, weights, densities, normalize):
    arrays, sources = models
    if normalize and cancels(weights):
        return
    own = {
        m: {"weight": w, "density": d} for m, w, d in zip("abc", weights, densities, strict=True)
    }
    deltas = [arrays[m] - arrays["base"] for m in "abc"]
    trimmed = [
        np.where(oracles.kept_by_magnitude(x, d), x, 0)
        for x, d in zip(deltas, densities, strict=True)
    ]
    wanted = oracles.elected(arrays["base"], trimmed, weights, normalize)
    got = merged(sources, recipe("ties", own, normalize=normalize))
    # Where weights of mixed sign nearly cancel, rounding is amplified as the quotient is.
    np.testing.assert_allclose(got, wanted, rtol=1e-3, atol=1e-4)


@given(st.tuples(weight, weight), st.tuples(density, density), st.integers(0, 99))
def test_dare_drops_at_random_and_keeps_the_norm(models, weights, densities, seed):
    arrays, sources = models
    own = {m: {"weight": w, "density": d} for m, w, d in zip("ab", weights, densities, strict=True)}
    trimmed = []
    for position, (model, kept) in enumerate(zip("ab", densities, strict=True), start=1):
        delta = arrays[model] - arrays["base"]
        mask = oracles.kept_at_random(SHAPE, kept, mask_key(seed, position, NAME))
        trimmed.append(oracles.rescaled(delta, mask))
    for method, oracle in (("dare_linear", oracles.summed), ("dare_ties", oracles.elected)):
        made = recipe(method, own).model_copy(update={"seed": seed})
        wanted = oracle(arrays["base"], trimmed, weights, normalize=False)
        close(merged(sources, made), wanted)


@given(st.floats(0, 1))
def test_slerp_walks_the_great_circle(models, t):
    arrays, sources = models
    made = recipe("slerp", {"base": {}, "c": {}}, t=t)
    close(merged(sources, made), oracles.slerp(arrays["base"], arrays["c"], t))


@given(st.permutations("abc"))
def test_ties_does_not_depend_on_the_order_of_the_models(models, order):
    _, sources = models
    own = {m: {"weight": 0.3, "density": 0.4} for m in order}
    same = {m: own[m] for m in "abc"}
    got, wanted = (merged(sources, recipe("ties", models)) for models in (own, same))
    close(got, wanted)


def test_ties_of_one_model_at_full_density_is_that_model(models):
    arrays, sources = models
    got = merged(sources, recipe("ties", {"a": {"weight": 0.7, "density": 1.0}}))
    np.testing.assert_allclose(got, arrays["a"], atol=1e-7)


@pytest.mark.parametrize("method", ["task_arithmetic", "ties", "dare_linear", "dare_ties"])
def test_lambda_zero_is_the_base(models, method):
    arrays, sources = models
    own = {m: {"weight": 0.5} for m in "abc"}
    assert (merged(sources, recipe(method, own, lambda_=0.0)) == arrays["base"]).all()
