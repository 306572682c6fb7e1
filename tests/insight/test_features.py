"""Recipes as numbers: what differs, where it applies, and nothing twice."""

import numpy as np

from evomerge.insight.features import feature_table
from evomerge.recipe import Recipe, Rule, Slice, Source, constant


def recipe(method="ties", shared=None, **models):
    """A recipe whose models have the given weights: a number, or rules."""
    sources = tuple(
        Source(model=f"/models/{name}", parameters={"weight": _setting(weight)})
        for name, weight in models.items()
    )
    return Recipe(
        merge_method=method, base_model="/models/b", models=sources, parameters=shared or {}
    )


def _setting(weight):
    return weight if isinstance(weight, tuple) else constant(weight)


def columns(*recipes, genomes=None):
    table = feature_table(recipes, genomes or [None] * len(recipes))
    return {
        feature.label: table.values_NF[:, place].tolist()
        for place, feature in enumerate(table.features)
    }


def test_what_all_recipes_say_alike_is_no_feature():
    assert columns(recipe(x=0.1, y=0.5), recipe(x=0.9, y=0.5)) == {"weight · x": [0.1, 0.9]}


def test_neighbouring_layers_that_always_agree_are_one_feature():
    found = columns(
        recipe(x=(Rule(value=(0.1, 0.1, 0.4)),)),
        recipe(x=(Rule(value=(0.2, 0.2, 0.4)),)),
        recipe(x=(Rule(value=(0.2, 0.2, 0.7)),)),
    )
    assert found == {
        "weight · x · layers 0–1": [0.1, 0.2, 0.2],
        "weight · x · layer 2": [0.4, 0.4, 0.7],
    }


def test_filters_are_named_as_kinds_of_tensors():
    rules = [
        (Rule(filter="attn", value=a), Rule(filter="lm_head.weight", value=h), Rule(value=0.5))
        for a, h in ((0.1, 0.2), (0.3, 0.4))
    ]
    assert columns(*(recipe(x=rule) for rule in rules)) == {
        "weight · x · attention": [0.1, 0.3],
        "weight · x · head": [0.2, 0.4],
    }


def test_places_that_always_get_the_same_value_are_one_feature():
    rules = [
        (Rule(filter="norm.weight", value=low), Rule(value=(low, high)))
        for low, high in ((0.1, 0.2), (0.3, 0.3))
    ]
    assert columns(*(recipe(x=rule) for rule in rules)) == {
        "weight · x · mlp and the rest · layer 0 + final norm": [0.1, 0.3],
        "weight · x · mlp and the rest · layer 1": [0.2, 0.3],
    }


def test_methods_options_and_switches_become_numbers():
    found = columns(
        recipe("ties", {"election": constant("sum"), "normalize": constant(True)}, x=0.1),
        recipe("dare_ties", {"election": constant("count"), "normalize": constant(False)}, x=0.1),
    )
    assert found == {"method": [1.0, 0.0], "election": [1.0, 0.0], "normalize": [1.0, 0.0]}


def test_what_a_recipe_does_not_say_is_no_number():
    found = columns(recipe(x=0.1), recipe(x=0.2, y=0.3))
    assert found["weight · x"] == [0.1, 0.2]
    assert np.isnan(found["weight · y"][0])


def test_models_of_the_same_name_in_two_folders_are_two_models():
    def twin(one, other):
        sources = tuple(
            Source(model=f"/{folder}/x", parameters={"weight": constant(weight)})
            for folder, weight in (("a", one), ("b", other))
        )
        return Recipe(merge_method="ties", base_model="/models/b", models=sources)

    found = columns(twin(0.1, 0.2), twin(0.3, 0.4))
    assert found == {"weight · /a/x": [0.1, 0.3], "weight · /b/x": [0.2, 0.4]}


def test_stacks_of_layers_are_known_by_their_genomes():
    stack = Recipe(
        merge_method="passthrough",
        slices=(Slice(sources=(Source(model="x", layer_range=(0, 2)),)),),
    )
    assert columns(stack, stack, genomes=[(0.1, 0.5), (0.2, 0.5)]) == {"gene 0": [0.1, 0.2]}


def test_no_recipes_have_no_features():
    table = feature_table([], [])
    assert (table.features, table.values_NF.shape) == ((), (0, 0))
