"""A search starts near the best baseline, whichever that is."""

import pytest

from evomerge.controller.baselines import fixed_baselines
from evomerge.recipe import evaluate
from evomerge.space import SearchSpace, SpaceSpec
from tests.space.families import index_of

MODELS = ("org/a", "org/b")
BASELINES = {baseline.label: baseline for baseline in fixed_baselines("org/base", MODELS)}
SPACE = SpaceSpec.model_validate(
    {
        "method": {"choice": ["linear", "task_arithmetic", "ties", "dare_ties"]},
        "weight": {"range": [0, 1.5], "per": ["model"], "step": 0.001},
        "density": {"range": [0.05, 1], "scale": "log", "per": ["model"], "step": 0.001},
        "lambda": {"range": [0.3, 2], "step": 0.001},
        "normalize": {"choice": [False, True]},
    }
)


@pytest.mark.parametrize("label", BASELINES)
def test_the_start_is_the_baseline_as_far_as_the_space_can_say_it(label: str) -> None:
    baseline = BASELINES[label]
    space = SearchSpace(SPACE, "org/base", MODELS, index_of("llama", 4))
    values = {**baseline.settings, "weight": baseline.weights, "lambda": 1.0}
    recipe = space.decode(space.encode(values, baseline.recipe.merge_method))
    assert recipe.merge_method == baseline.recipe.merge_method
    wanted = baseline.settings.get("density", 1.0)
    for source in recipe.sources():
        if "density" in source.parameters:
            assert evaluate(source.parameters["density"], "x", 0) == pytest.approx(wanted, abs=1e-3)
    if "normalize" in baseline.settings:
        assert evaluate(recipe.parameters["normalize"], "x", 0) is baseline.settings["normalize"]


def test_a_baselines_settings_are_its_parameters_by_name() -> None:
    assert BASELINES["TIES"].settings == {
        "weight": 1.0,
        "density": 0.2,
        "lambda": 1.0,
        "normalize": True,
    }
