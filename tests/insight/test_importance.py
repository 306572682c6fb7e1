"""What mattered: known functions give known shares, and too little says nothing."""

import sys

import numpy as np
import pytest

from evomerge.errors import ResourceError
from evomerge.insight.features import Feature, FeatureTable
from evomerge.insight.importance import FEWEST, parameter_importance

LINEAR = tuple(Feature("weight", model) for model in "xyz")


def table(count, features=LINEAR, seed=0):
    values = np.random.default_rng(seed).random((count, len(features)))
    return FeatureTable(features, values)


def shares(effects):
    return {effect.label: effect.share for effect in effects}


@pytest.fixture(scope="module")
def linear():
    """y = 3x + y, so that nine tenths of the variance are due to the first and one tenth to the second."""
    drawn = table(400)
    return parameter_importance(drawn, drawn.values_NF @ [3.0, 1.0, 0.0])


def test_shares_are_those_of_the_known_function(linear):
    assert linear.note is None
    assert linear.explained.value > 0.9
    found = shares(linear.features)
    assert found["weight · x"].value == pytest.approx(0.9, abs=0.08)
    assert found["weight · y"].value == pytest.approx(0.1, abs=0.04)
    assert abs(found["weight · z"].value) < 0.01


def test_the_largest_comes_first_and_intervals_hold_their_value(linear):
    values = [effect.share.value for effect in linear.features]
    assert values == sorted(values, reverse=True)
    for effect in linear.features:
        assert effect.share.low <= effect.share.value <= effect.share.high
    assert linear.features[0].share.low > 0


def test_what_two_do_only_together_counts_for_both():
    """The product of two centred columns has no effect of either alone: its total effects are 1 each."""
    drawn = table(600)
    product = (drawn.values_NF[:, 0] - 0.5) * (drawn.values_NF[:, 1] - 0.5)
    found = shares(parameter_importance(drawn, product).features)
    assert min(found["weight · x"].value, found["weight · y"].value) > 0.5
    assert abs(found["weight · z"].value) < 0.05


def test_groups_are_shuffled_as_a_whole():
    features = tuple(
        Feature(name, model, None, layers)
        for name in ("weight", "density")
        for model in "xy"
        for layers in ((0, 1), (2, 3))
    )
    drawn = table(300, features)
    fitness = drawn.values_NF[:, :4].sum(axis=1)  # all weights, no density
    found = parameter_importance(drawn, fitness)
    assert set(found.groups) == {"parameter", "model", "layers"}
    parameters = shares(found.groups["parameter"])
    assert parameters["weight"].value > 0.6
    assert abs(parameters["density"].value) < 0.05
    models = shares(found.groups["model"])
    assert models["x"].value == pytest.approx(models["y"].value, abs=0.15)
    assert set(shares(found.groups["layers"])) == {"layers 0–1", "layers 2–3"}


def test_too_few_candidates_say_nothing():
    drawn = table(FEWEST - 1)
    found = parameter_importance(drawn, drawn.values_NF[:, 0])
    assert "too few" in found.note
    assert found.features == ()


def test_noise_is_not_explained_and_that_is_said():
    drawn = table(100)
    found = parameter_importance(drawn, np.random.default_rng(9).random(100))
    assert "nothing can be said" in found.note


def test_candidates_that_are_all_alike_say_nothing():
    assert "alike" in parameter_importance(table(50), np.ones(50)).note
    empty = FeatureTable((), np.empty((50, 0)))
    assert "alike" in parameter_importance(empty, np.arange(50.0)).note


def test_estimates_with_large_errors_count_for_less():
    """Half of the candidates say something else, with an error that dwarfs it: the others are heard."""
    drawn = table(400)
    fitness = drawn.values_NF[:, 0].copy()
    wild = np.arange(400) % 2 == 1
    fitness[wild] = np.random.default_rng(5).normal(0.5, 0.5, 200)
    stderr = np.where(wild, 5.0, 0.0)
    weighted = shares(parameter_importance(drawn, fitness, stderr).features)["weight · x"].value
    plain = shares(parameter_importance(drawn, fitness).features)["weight · x"].value
    assert weighted > 0.6
    assert plain < 0.2


def test_the_same_candidates_give_the_same_figures():
    drawn = table(60)
    one, two = (parameter_importance(drawn, drawn.values_NF[:, 1]) for _ in "ab")
    assert one == two


def test_values_that_some_recipes_do_not_have_are_values_of_their_own():
    drawn = table(200)
    values = drawn.values_NF.copy()
    missing = np.arange(200) % 3 == 0
    values[missing, 2] = np.nan
    found = parameter_importance(FeatureTable(LINEAR, values), missing.astype(float))
    assert found.features[0].label == "weight · z"
    assert found.features[0].share.value > 0.8


def test_many_features_are_thinned_to_those_that_the_forest_uses():
    features = tuple(Feature(f"p{n}") for n in range(60))
    drawn = table(150, features)
    found = parameter_importance(drawn, drawn.values_NF[:, 57])
    assert len(found.features) == 40
    assert found.features[0].label == "p57"


def test_without_scikit_learn_it_is_said_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.ensemble", None)
    drawn = table(60)
    with pytest.raises(ResourceError, match=r"evomerge\[insight\]"):
        parameter_importance(drawn, drawn.values_NF[:, 0])
