"""`recipe`: what a recipe says, in its normal form, and what two of them say differently."""

import json

import pytest
from hypothesis import given

from evomerge.merging.describe import differences, lines_of
from evomerge.merging.mergekit_yaml import dump_recipe, parse_recipe
from evomerge.recipe import Recipe
from tests.merging.test_mergekit_yaml import MODULES, SLICES, TIES, TOKENS, recipes


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "a.yml"
    path.write_text(TIES)
    return path


def test_show_prints_every_value_and_where_it_holds(evomerge, file):
    lines = [line.split() for line in evomerge("recipe", "show", file).out.splitlines()]
    assert ["method", "ties"] in lines
    assert ["org/a", "density", "mlp", "0.1", "→", "0.5", "→", "1"] in lines
    assert ["org/a", "density", "all", "others", "0.25"] in lines
    assert ["all", "models", "normalize", "all", "true"] in lines


def test_show_says_which_layers_and_modules(evomerge, file):
    file.write_text(MODULES)
    out = evomerge("recipe", "show", file).out
    assert "model.language_model, slice 0" in out
    assert "2-3" in out
    assert "base model y" in out
    assert out.count("vision_tower") == 2


def test_show_names_the_tokens(evomerge, file):
    file.write_text(TOKENS)
    out = evomerge("recipe", "show", file).out
    assert "y, its '</s>', in all models" in out
    assert "zeros" in out


def test_show_gives_json_and_yaml(evomerge, file):
    made = parse_recipe(TIES)
    found = evomerge("recipe", "show", file, "--format", "json").json
    assert found["recipe_id"] == made.recipe_id
    assert found["recipe"]["merge_method"] == "ties"
    assert evomerge("recipe", "show", file, "--format", "yaml").out == dump_recipe(made)


@pytest.mark.parametrize("text", [TIES, SLICES, MODULES, TOKENS])
def test_convert_writes_one_normal_form_and_back(evomerge, file, text):
    file.write_text(text)
    made = parse_recipe(text)
    normal = evomerge("recipe", "convert", file).out
    assert parse_recipe(normal) == made
    other = file.with_suffix(".json")
    done = evomerge("recipe", "convert", file, "--format", "json", "--out", other)
    assert made.recipe_id in done.err
    assert Recipe.model_validate_json(other.read_text()) == made
    assert evomerge("recipe", "convert", other).out == normal


def test_mergekits_configuration_as_json_is_read_too(evomerge, file):
    file.write_text(json.dumps({"merge_method": "passthrough", "models": [{"model": "x"}]}))
    assert evomerge("recipe", "convert", file).out.startswith("merge_method: passthrough")


def test_the_names_of_emojis_stay_names(evomerge, file):
    file.write_text(TIES.replace("org/a", "org/:x:y"))
    assert "org/:x:y" in evomerge("recipe", "convert", file).out


def test_diff_says_what_differs_and_ends_with_1(evomerge, file):
    other = file.with_name("b.yml")
    other.write_text(TIES.replace("value: 0.25", "value: 0.5").replace("dtype: bfloat16\n", ""))
    done = evomerge("recipe", "diff", file, other)
    assert done.code == 1
    rows = [line.split() for line in done.out.splitlines()]
    assert ["dtype", "bfloat16", "-"] in rows
    assert ["org/a", "density", "0.25", "0.5"] in rows
    assert len(rows) == 3
    found = evomerge("recipe", "diff", file, other, "--format", "json").json
    assert found["equal"] is False
    assert [row["what"] for row in found["differences"]] == ["dtype", "org/a density"]


def test_diff_of_equal_recipes_ends_with_0_however_they_are_spelt(evomerge, file):
    other = file.with_name("b.yml")
    other.write_text(dump_recipe(parse_recipe(TIES)))
    assert evomerge("recipe", "diff", file, other).code == 0
    assert evomerge("recipe", "diff", file, other, "--format", "json").json["equal"] is True


def test_candidates_are_recipes_too(evomerge, finished):
    store = ("--store", finished.store)
    assert "task_arithmetic" in evomerge("recipe", "show", "done-one", *store).out
    done = evomerge("recipe", "diff", "done-one:0", "done-one:1", *store)
    assert done.code == 1
    assert evomerge("recipe", "diff", "done-one:0", "done-one:0", *store).code == 0


def test_a_merged_models_folder_has_a_recipe(evomerge, finished, tmp_path):
    out = tmp_path / "model"
    assert evomerge("export", "done-one", out, "--store", finished.store).code == 0
    assert evomerge("recipe", "diff", out, "done-one", "--store", finished.store).code == 0


@given(recipes, recipes)
def test_there_are_differences_exactly_where_recipes_differ(one, two):
    assert bool(differences(one, two)) == (one != two)
    assert not differences(one, one)
    named = {line.model for line in lines_of(one)} - {None}
    assert named == {source.model for source in one.sources()}


def test_the_order_of_rules_is_a_difference():
    rules = (
        "- filter: mlp\n          value: [0.1, 5e-1, 1]\n        - filter: q\n          value: 0.25"
    )
    text = TIES.replace(
        "- filter: mlp\n          value: [0.1, 5e-1, 1]\n        - value: 0.25", rules
    )
    swapped = rules.replace("mlp", "?").replace("filter: q", "filter: mlp").replace("?", "q")
    swapped = swapped.replace("[0.1, 5e-1, 1]", "!").replace("0.25", "[0.1, 5e-1, 1]")
    other = text.replace(rules, swapped.replace("!", "0.25"))
    (found,) = differences(parse_recipe(text), parse_recipe(other))
    assert found.what == "order of rules, models or slices"
