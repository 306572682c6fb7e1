"""Modules: which tensors they have, whose numbers they get, and what config.json says afterwards."""

import json

import pytest
import torch

from evomerge.errors import CheckpointError
from evomerge.merging.checkpoint import open_checkpoint
from evomerge.merging.mergekit_yaml import parse_recipe
from evomerge.merging.modules import config_of, stacks_of, tensors_of
from evomerge.merging.offline import merge_config
from evomerge.merging.plan import plan_layout, resolve
from evomerge.recipe import Recipe, Rule, Source, constant
from tests.merging.checkpoints import random_weights, save

TEXT = "model.language_model"
VISION = "model.visual"


def two_towers(text=4, vision=2):
    """Names and shapes of a small model that sees and reads."""
    shapes = {f"{TEXT}.embed_tokens.weight": (10, 4), f"{TEXT}.norm.weight": (4,)}
    shapes |= {f"{TEXT}.layers.{i}.mlp.up_proj.weight": (4, 4) for i in range(text)}
    shapes |= {f"{VISION}.blocks.{i}.attn.proj.weight": (4, 4) for i in range(vision)}
    shapes |= {f"{VISION}.patch_embed.proj.weight": (4, 3), f"{VISION}.merger.mlp.0.weight": (4, 4)}
    return {**shapes, "lm_head.weight": (10, 4)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("towers")
    config = {
        "text_config": {"num_hidden_layers": 4, "layer_types": ["full"] * 4},
        "vision_config": {"depth": 2},
    }
    for seed, name in enumerate(("base", "a", "b")):
        save(folder / name, random_weights(two_towers(), seed), **config)
    return folder


@pytest.fixture(scope="module")
def checkpoints(folder):
    return {name: open_checkpoint(folder / name) for name in ("base", "a", "b")}


def weights_of(checkpoints, recipe):
    plans = resolve(recipe, plan_layout(recipe, checkpoints))
    return {plan.layout.name: plan.own[0]["weight"] for plan in plans}


@pytest.mark.parametrize(
    "names",
    [
        {TEXT: "text", VISION: "vision", "lm_head": "head"},
        {"text_decoder": "text", "vision_tower": "vision", "multi_modal_projector": "projector"},
        {"model": "all but the head", "lm_head": "head"},
    ],
)
def test_every_tensor_is_in_the_module_with_the_longest_prefix(names):
    owned = {names[m]: own for m, own in tensors_of(names, two_towers(), "m").items()}
    assert sorted(name for own in owned.values() for name in own) == sorted(two_towers())
    home = {name: module for module, own in owned.items() for name in own}
    merger = home[f"{VISION}.merger.mlp.0.weight"]
    assert merger == (
        "projector" if "projector" in owned else home[f"{VISION}.blocks.0.attn.proj.weight"]
    )
    assert home["lm_head.weight"] == ("head" if "head" in owned else "text")


def test_mergekits_names_fit_the_checkpoints_of_several_families():
    mergekits = ["text_decoder", "vision_tower", "multi_modal_projector"]
    for names in (
        ("language_model.model.layers.0.x", "vision_tower.layers.0.x", "multi_modal_projector.x"),
        ("model.layers.0.x", "visual.blocks.0.x", "visual.merger.mlp.0.x"),
    ):
        assert list(tensors_of(mergekits, names, "m").values()) == [(n,) for n in names]
    whisper = ("model.encoder.layers.0.x", "model.decoder.layers.0.x")
    assert tensors_of(["encoder", "decoder"], whisper, "m")["decoder"] == whisper[1:]


def test_the_default_module_is_the_whole_model():
    assert tensors_of(["default"], two_towers(), "m") == {"default": tuple(sorted(two_towers()))}


def test_beside_others_the_default_module_is_the_rest():
    """mergekit names the stacks of models that it does not know so."""
    owned = tensors_of([f"{VISION}.blocks", f"{TEXT}.layers", "default"], two_towers(), "m")
    assert [len(own) for own in owned.values()] == [2, 4, 5]
    assert "lm_head.weight" in owned["default"]
    with pytest.raises(CheckpointError, match="no tensor belongs to the module 'default'"):
        tensors_of(["model", "lm_head", "default"], two_towers(), "m")


def test_tensors_in_no_module_are_named():
    with pytest.raises(CheckpointError, match=r"1 tensors are in no module: lm_head.*\n.*lm_head"):
        tensors_of([TEXT, VISION], two_towers(), "m")
    with pytest.raises(CheckpointError, match=r"4 tensors .*model\.visual.*…\n.*add a module"):
        tensors_of(["text_decoder"], two_towers(), "m")


def test_a_module_without_tensors_is_refused_with_the_names_there_are():
    with pytest.raises(CheckpointError, match=r"'model\.visuals'\n.*did you mean 'model\.visual'"):
        tensors_of([TEXT, "model.visuals", "lm_head"], two_towers(), "m")


MODULES = """\
merge_method: linear
modules:
  model.language_model:
    slices:
      - sources: [{model: a, layer_range: [0, 2], parameters: {weight: {filter: mlp, value: 1}}}]
        parameters: {weight: {filter: norm, value: 2}}
      - sources: [{model: a, layer_range: [1, 4]}]
    parameters: {weight: [{filter: embed, value: 3}, {filter: norm, value: 5}]}
  model.visual:
    models: [{model: a}]
    parameters: {weight: [1, 2]}
  lm_head:
    models: [{model: a}]
parameters: {weight: 4}
"""


def test_source_goes_before_slice_before_module_before_recipe(checkpoints):
    found = weights_of(checkpoints, parse_recipe(MODULES))
    assert found[f"{TEXT}.layers.0.mlp.up_proj.weight"] == 1
    assert found[f"{TEXT}.embed_tokens.weight"] == 3
    assert found[f"{TEXT}.norm.weight"] == 5
    assert found["lm_head.weight"] == found[f"{TEXT}.layers.2.mlp.up_proj.weight"] == 4


def test_each_module_numbers_its_own_layers(checkpoints):
    found = weights_of(checkpoints, parse_recipe(MODULES))
    text = [name for name in found if ".layers." in name]
    assert text == [f"{TEXT}.layers.{layer}.mlp.up_proj.weight" for layer in range(5)]
    assert [found[f"{VISION}.blocks.{layer}.attn.proj.weight"] for layer in range(2)] == [1, 2]


def test_the_order_of_modules_in_the_file_changes_nothing(checkpoints):
    one = parse_recipe(MODULES)
    other = one.model_copy(update={"modules": dict(reversed(one.modules.items()))})
    assert other.recipe_id == one.recipe_id
    assert other.all_models() == one.all_models()
    assert plan_layout(other, checkpoints) == plan_layout(one, checkpoints)
    assert weights_of(checkpoints, other) == weights_of(checkpoints, one)


def test_stacks_without_modules_have_positions_of_their_own_too(checkpoints):
    source = Source(model="a", parameters={"weight": (Rule(value=(1.0, 2.0)),)})
    found = weights_of(checkpoints, Recipe(merge_method="linear", models=(source,)))
    assert found[f"{VISION}.blocks.1.attn.proj.weight"] == 2
    assert found[f"{TEXT}.layers.3.mlp.up_proj.weight"] == 2
    assert stacks_of(two_towers()) == {f"{TEXT}.layers": 4, f"{VISION}.blocks": 2}


def test_slices_of_several_stacks_at_once_are_refused(checkpoints):
    text = "merge_method: passthrough\nslices: [{sources: [{model: a, layer_range: [0, 2]}]}]\n"
    with pytest.raises(CheckpointError, match="several stacks"):
        plan_layout(parse_recipe(text), checkpoints)


def test_layers_that_a_module_lacks_are_refused(checkpoints):
    with pytest.raises(CheckpointError, match=r"module model\.language_model with 4 layers"):
        plan_layout(parse_recipe(MODULES.replace("[1, 4]", "[1, 5]")), checkpoints)


def test_modules_are_merged_and_the_config_counts_their_layers(folder):
    (folder / "c.yml").write_text(MODULES)
    merge_config(folder / "c.yml", folder / "out")
    made = open_checkpoint(folder / "out")
    config = json.loads((folder / "out/config.json").read_text())
    assert config["text_config"] == {"num_hidden_layers": 5, "layer_types": ["full"] * 5}
    assert config["vision_config"] == {"depth": 2}
    first = open_checkpoint(folder / "a")
    for new, old in ((1, 1), (2, 1), (4, 3)):
        pair = (made, new), (first, old)
        tensors = [
            x.tensor(x.index.tensors[f"{TEXT}.layers.{layer}.mlp.up_proj.weight"])
            for x, layer in pair
        ]
        assert torch.equal(*tensors)


def test_a_config_that_does_not_count_the_modules_layers_is_refused(folder):
    recipe = parse_recipe(MODULES)
    index = open_checkpoint(folder / "a").index
    index.config.pop("text_config")
    with pytest.raises(CheckpointError, match="how many layers"):
        config_of(recipe, index)


def test_the_rest_of_a_model_has_its_layers_counted_as_text(folder):
    text = MODULES.replace("model.language_model:", "default:").replace("model.visual:", "visual:")
    recipe = parse_recipe(text.replace("  visual:", "  model.visual:"))
    described = config_of(recipe, open_checkpoint(folder / "a").index)
    assert described["text_config"]["num_hidden_layers"] == 5


def test_two_recipes_whose_modules_differ_have_structures_of_their_own(folder):
    from evomerge.merging.merge import MergeSource

    one = parse_recipe(MODULES)
    whole = Recipe(
        merge_method="linear",
        models=(Source(model="a", parameters={"weight": constant(1.0)}),),
    )
    with MergeSource({"a": folder / "a"}) as source:
        assert len(source.layouts(one)) == len(source.layouts(whole)) + 1
