"""A recipe that a space can say is found again as a genome; any other one is not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from evomerge.layout import read_index
from evomerge.recipe import Recipe, Source, constant
from evomerge.space import SearchSpace, SpaceSpec
from tests.support import write_checkpoint

MODELS = ("x", "y")
SPACES = {
    "global": {"method": "task_arithmetic", "weight": {"range": [0, 1.5], "per": ["model"]}},
    "groups and kinds": {
        "method": "ties",
        "weight": {"range": [0, 1.5], "per": ["model", "layer_group", "kind"]},
        "density": {"range": [0.05, 1], "scale": "log", "per": ["model"]},
        "layer_groups": 2,
    },
    "lines": {
        "method": "linear",
        "weight": {"range": [0, 2], "per": ["model", "layer_group"]},
        "layer_groups": 3,
        "across_layers": "linear",
    },
    "any method": {
        "method": {"choice": ["ties", "task_arithmetic"]},
        "weight": {"range": [0, 1.5], "per": ["model"]},
        "normalize": {"choice": [True, False]},
    },
}


@pytest.fixture(params=SPACES.values(), ids=SPACES.keys())
def space(request: pytest.FixtureRequest, tmp_path: Path) -> SearchSpace:
    spec = SpaceSpec.model_validate(request.param)
    return SearchSpace(spec, "b", MODELS, read_index(write_checkpoint(tmp_path / "b", 0)))


@pytest.mark.parametrize("seed", range(5))
def test_what_a_space_decodes_it_finds_again(space: SearchSpace, seed: int) -> None:
    recipe = space.decode(np.random.default_rng(seed).random(space.dimension))
    genome = space.genome_of(recipe)
    assert genome is not None
    assert space.decode(genome).recipe_id == recipe.recipe_id


def test_another_method_or_a_value_outside_its_range_is_not_in_the_space(tmp_path: Path) -> None:
    spec = SpaceSpec.model_validate(SPACES["global"])
    space = SearchSpace(spec, "b", MODELS, read_index(write_checkpoint(tmp_path / "b", 0)))

    def recipe(method: str, weight: float, model: str = "x") -> Recipe:
        source = Source(model=model, parameters={"weight": constant(weight)})
        return Recipe(merge_method=method, base_model="b", models=(source,))

    inside = space.genome_of(recipe("task_arithmetic", 0.75))
    assert inside is not None
    assert np.allclose(inside, [0.5, 0.0])  # a model that is left out has no weight
    assert space.genome_of(recipe("task_arithmetic", 1.75)) is None
    assert space.genome_of(recipe("dare_linear", 0.75)) is None
    assert space.genome_of(recipe("task_arithmetic", 0.75, "elsewhere")) is None


def test_a_recipe_that_tells_layers_apart_is_not_in_a_space_that_does_not(tmp_path: Path) -> None:
    index = read_index(write_checkpoint(tmp_path / "b", 0))
    fine = SearchSpace(
        SpaceSpec.model_validate(
            {
                "method": "task_arithmetic",
                "weight": {"range": [0, 1.5], "per": ["model", "layer_group"]},
                "layer_groups": 2,
            }
        ),
        "b",
        MODELS,
        index,
    )
    coarse = SearchSpace(SpaceSpec.model_validate(SPACES["global"]), "b", MODELS, index)
    assert coarse.genome_of(fine.decode(np.linspace(0, 1, fine.dimension))) is None
    assert coarse.genome_of(fine.decode(np.full(fine.dimension, 0.5))) is not None
