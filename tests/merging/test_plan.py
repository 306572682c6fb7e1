"""Which value a tensor gets: precedence, filters, positions."""

import pytest

from evomerge.errors import CheckpointError, MergeError
from evomerge.merging.checkpoint import open_checkpoint
from evomerge.merging.plan import plan_layout, resolve, with_layer
from evomerge.recipe import Recipe, Rule, Slice, Source, constant
from tests.merging.checkpoints import llama, random_weights, save

Q = "model.layers.{}.self_attn.q_proj.weight".format
UP = "model.layers.{}.mlp.up_proj.weight".format


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    folder = tmp_path_factory.mktemp("plan")
    weights = random_weights(llama(layers=3), 0)
    return {name: open_checkpoint(save(folder / name, weights)) for name in ("base", "a", "b")}


def weights_of(checkpoints, recipe, part=0):
    plans = resolve(recipe, plan_layout(recipe, checkpoints))
    return {plan.layout.name: plan.own[part]["weight"] for plan in plans}


def linear(own, shared=None, **slice_settings):
    source = Source(model="a", layer_range=(0, 3), parameters=own)
    parts = (Slice(sources=(source,), parameters=slice_settings),)
    return Recipe(merge_method="linear", slices=parts, parameters=shared or {})


def test_source_goes_before_slice_before_recipe(checkpoints):
    only_mlp = (Rule(filter="mlp", value=1.0),)
    only_norm = (Rule(filter="norm", value=2.0),)
    made = linear({"weight": only_mlp}, {"weight": constant(3.0)}, weight=only_norm)
    found = weights_of(checkpoints, made)
    assert found[UP(0)] == 1.0
    assert found["model.norm.weight"] == 2.0
    assert found[Q(0)] == 3.0


def test_gradients_run_over_the_layers_and_start_outside_them(checkpoints):
    found = weights_of(checkpoints, linear({"weight": (Rule(value=(1.0, 2.0)),)}))
    assert [found[Q(layer)] for layer in range(3)] == [1.0, 1.5, 2.0]
    assert {found[n] for n in ("model.embed_tokens.weight", "lm_head.weight")} == {1.0}


def test_filters_of_a_models_own_parameters_see_the_tensor_that_is_read(checkpoints):
    rules = (Rule(filter="layers.2.", value=5.0), Rule(value=1.0))
    part = Slice(sources=(Source(model="a", layer_range=(2, 3), parameters={"weight": rules}),))
    assert weights_of(checkpoints, Recipe(merge_method="linear", slices=(part,)))[Q(0)] == 5.0


def test_the_base_is_not_one_of_the_deltas(checkpoints):
    own = {"weight": constant(1.0)}
    sources = (Source(model="base"), Source(model="a", parameters=own))
    made = Recipe(merge_method="ties", base_model="base", models=sources)
    layout = plan_layout(made, checkpoints)[0]
    assert [part.model for part in layout.parts] == ["a"]
    assert layout.base.model == "base"


def test_slerp_adds_a_base_that_is_not_listed_as_its_first_end(checkpoints):
    sources = (Source(model="a"),)
    t = {"t": constant(0.5)}
    made = Recipe(merge_method="slerp", base_model="base", models=sources, parameters=t)
    assert [part.model for part in plan_layout(made, checkpoints)[0].parts] == ["base", "a"]


def test_a_tensor_that_no_rule_matches_is_named(checkpoints):
    with pytest.raises(MergeError, match=r"weight of a .*embed"):
        weights_of(checkpoints, linear({"weight": (Rule(filter="mlp", value=1.0),)}))


def test_layers_that_a_model_lacks_are_refused(checkpoints):
    part = Slice(sources=(Source(model="a", layer_range=(2, 5), parameters={}),))
    with pytest.raises(CheckpointError, match="3 layers"):
        plan_layout(Recipe(merge_method="linear", slices=(part,)), checkpoints)


def test_layers_are_renumbered_wherever_the_number_stands():
    assert with_layer("model.layers.3.mlp.experts.3.w1", 7) == "model.layers.7.mlp.experts.3.w1"
    assert with_layer("h.0.attn.c_attn.weight", 11) == "h.11.attn.c_attn.weight"
