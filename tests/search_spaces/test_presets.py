"""Every preset in search_spaces/ loads, binds to a model, and decodes to valid recipes."""

from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from evomerge.errors import NotFoundError
from evomerge.layout import read_index
from evomerge.merging.merge import merge_tensors
from evomerge.merging.mergekit_yaml import parse_recipe
from evomerge.merging.validate import validate
from evomerge.methods import METHODS
from evomerge.recipe import evaluate, position_in_slice, to_config
from evomerge.resources import resource_folder
from evomerge.space import SearchSpace, SpaceSpec
from evomerge.spec import SearchSpec, load_preset
from tests.calibration.statistics import some_texts, write_random_statistics
from tests.space.any_method import number_of_models
from tests.support import LAYERS, write_checkpoint

FILES = sorted(resource_folder("search_spaces").glob("*.yml"))
PRESETS = [file.stem for file in FILES]
MODELS = ("org/first", "org/second", "org/third")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("base"), seed=0)


def bound(preset: str, checkpoint: Path, texts: str | None = None) -> SearchSpace:
    models = MODELS[: number_of_models(load_preset(preset))]
    index = read_index(checkpoint)
    return SearchSpace(load_preset(preset), "org/base", models, index, texts=texts)


def some_genomes(dimension: int) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    ends = [np.full(dimension, value) for value in (0.0, 0.5, 1.0)]
    return [*ends, *rng.random((20, dimension))]


def test_the_presets_that_the_documentation_promises_are_there() -> None:
    promised = {
        f"{method}_{grain}"
        for method in ("linear", "ties", "dare_ties")
        for grain in ("global", "per_layer")
    }
    assert promised <= set(PRESETS)
    assert SearchSpec.model_fields["space"].default in PRESETS


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_opens_with_a_comment_that_says_when_to_use_it(preset: str) -> None:
    text = (resource_folder("search_spaces") / f"{preset}.yml").read_text(encoding="utf-8")
    comment = " ".join(line for line in text.splitlines() if line.startswith("#"))
    assert text.startswith("# ")
    assert "Use it" in comment


@pytest.mark.parametrize("preset", PRESETS)
def test_every_genome_of_a_preset_decodes_to_a_recipe_within_the_methods_bounds(
    preset: str, checkpoint: Path
) -> None:
    space = bound(preset, checkpoint)
    for genome in some_genomes(space.dimension):
        recipe = space.decode(genome)
        validate(recipe)
        method = METHODS[recipe.merge_method]
        for settings in (recipe.parameters, *(source.parameters for source in recipe.sources())):
            for name, setting in settings.items():
                parameter = method.parameter(name)
                assert parameter is not None
                for tensor in space.index.tensors:
                    value = evaluate(setting, tensor, position_in_slice(1, LAYERS))
                    assert value is not None
                    if parameter.kind == "choice":
                        assert value in parameter.choices
                    else:
                        assert parameter.accepts(float(value))


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The base and three fine-tunes: the same base, and a little of something else."""
    folder = tmp_path_factory.mktemp("merged")
    base = write_checkpoint(folder / "base", seed=0)
    models = {
        model: write_checkpoint(folder / str(seed), seed) for seed, model in enumerate(MODELS, 1)
    }
    write_random_statistics(models, some_texts())
    return {"org/base": base} | models


@pytest.mark.parametrize("preset", [name for name in PRESETS if not name.startswith("m_smoe")])
def test_recipes_of_a_preset_are_merged(preset: str, checkpoints: dict[str, Path]) -> None:
    space = bound(preset, checkpoints["org/base"], some_texts().name)
    for genome in (np.full(space.dimension, 0.5), some_genomes(space.dimension)[-1]):
        merged = dict(merge_tensors(space.decode(genome), checkpoints, fused=False))
        assert set(space.index.outer_tensors) < set(merged)
        assert all(bool(tensor.isfinite().all()) for tensor in merged.values())


def test_every_method_has_a_preset_and_every_preset_is_named_after_its_method() -> None:
    searched = {preset: load_preset(preset).methods for preset in PRESETS}
    found = {method for methods in searched.values() for method in methods}
    wanted = {name for name, method in METHODS.items() if not method.learned}
    assert found == wanted, "write search_spaces/METHOD_global.yml for each method without a preset"
    for preset, methods in searched.items():
        assert len(methods) > 1 or preset.startswith(f"{methods[0]}_")


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_starts_near_the_baselines(preset: str, checkpoint: Path) -> None:
    space = bound(preset, checkpoint)
    values = {"weight": dict.fromkeys(space.models, 0.4), "lambda": 1.0}
    start = space.encode(values, space.spec.methods[0])
    recipe = space.decode(start)
    assert recipe.merge_method == space.spec.methods[0]
    assert ((start >= 0) & (start <= 1)).all()
    for source in recipe.sources():
        if "weight" in source.parameters:
            assert evaluate(source.parameters["weight"], "x", 0.5) == pytest.approx(0.4, abs=1e-3)
    if "lambda" in recipe.parameters:
        assert evaluate(recipe.parameters["lambda"], "x", 0.5) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_recipe_gives_every_required_parameter_of_its_method(
    preset: str, checkpoint: Path
) -> None:
    space = bound(preset, checkpoint)
    recipe = space.decode(np.full(space.dimension, 0.5))
    for parameter in METHODS[recipe.merge_method].parameters:
        if parameter.required and parameter.per_model:
            assert all(parameter.name in source.parameters for source in recipe.sources())
        elif parameter.required:
            assert parameter.name in recipe.parameters


@pytest.mark.parametrize("preset", PRESETS)
def test_recipes_of_a_preset_survive_mergekits_yaml(preset: str, checkpoint: Path) -> None:
    space = bound(preset, checkpoint)
    for genome in some_genomes(space.dimension)[:6]:
        recipe = space.decode(genome)
        text = StringIO()
        YAML(typ="safe").dump(to_config(recipe), text)
        assert parse_recipe(text.getvalue()).recipe_id == recipe.recipe_id


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_survives_the_store(preset: str) -> None:
    spec = load_preset(preset)
    assert SpaceSpec.model_validate_json(spec.model_dump_json()) == spec


def test_an_unknown_preset_names_the_nearest_one() -> None:
    with pytest.raises(NotFoundError, match="did you mean 'ties_per_layer'"):
        load_preset("ties_per_layers")
