"""A recipe is frozen, has one spelling and one id, and means what mergekit's grammar says."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evomerge.recipe import (
    Module,
    Recipe,
    Rule,
    Slice,
    Source,
    Token,
    constant,
    evaluate,
    interpolate,
    position_in_slice,
    to_config,
)

finite = st.floats(allow_nan=False, allow_infinity=False, width=32)


def ties(**changes: object) -> Recipe:
    content = {
        "merge_method": "ties",
        "base_model": "org/base",
        "models": (
            Source(model="org/a", parameters={"weight": constant(0.5)}),
            Source(model="org/b", parameters={"weight": constant(1)}),
        ),
    }
    return Recipe(**{**content, **changes})


def test_the_id_is_the_same_for_equal_recipes_however_they_were_written() -> None:
    respelt = Recipe.model_validate_json(ties().model_dump_json())
    with_defaults = ties(seed=0, parameters={}, dtype=None)
    assert respelt.recipe_id == with_defaults.recipe_id == ties().recipe_id
    assert len(ties().recipe_id) == 16


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"dtype": "bfloat16"},
        {"merge_method": "dare_ties"},
        {"parameters": {"lambda": constant(0.9)}},
        {"base_model": "org/other"},
    ],
)
def test_the_id_changes_with_anything_that_changes_the_weights(change: dict[str, object]) -> None:
    assert ties(**change).recipe_id != ties().recipe_id


def test_the_id_of_a_known_recipe_never_changes_as_stores_hold_it() -> None:
    assert ties().canonical_json() == (
        '{"base_model":"org/base","merge_method":"ties","models":['
        '{"model":"org/a","parameters":{"weight":[{"value":0.5}]}},'
        '{"model":"org/b","parameters":{"weight":[{"value":1.0}]}}]}'
    )


def test_a_recipe_cannot_be_changed() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        ties().seed = 3  # type: ignore[misc]


def test_unknown_keys_are_refused() -> None:
    with pytest.raises(ValidationError, match="Extra inputs"):
        Recipe.model_validate({"merge_method": "ties", "models": [{"model": "a", "wieght": 1}]})


def test_a_recipe_has_models_or_slices_and_not_both() -> None:
    source = Source(model="org/a")
    with pytest.raises(ValidationError, match="exactly one of models, slices and modules"):
        Recipe(merge_method="linear")
    with pytest.raises(ValidationError, match="exactly one of models, slices and modules"):
        Recipe(merge_method="linear", models=(source,), slices=(Slice(sources=(source,)),))


@pytest.mark.parametrize("value", [(), float("nan"), (1.0, float("inf"))])
def test_a_value_is_finite_and_a_gradient_not_empty(value: object) -> None:
    with pytest.raises(ValidationError):
        Rule(value=value)


def test_the_first_rule_that_matches_wins_and_a_tensor_may_match_none() -> None:
    setting = (Rule(filter="attn", value=0.1), Rule(filter="mlp", value=0.2))
    assert evaluate(setting, "model.layers.0.self_attn.q_proj.weight", 0) == 0.1
    assert evaluate(setting, "model.layers.0.mlp.up_proj.weight", 0) == 0.2
    assert evaluate(setting, "model.norm.weight", 0) is None


@pytest.mark.parametrize("everything", [None, "", "*"])
def test_a_rule_without_a_filter_or_with_a_star_matches_all(everything: str | None) -> None:
    assert evaluate((Rule(filter=everything, value=0.3),), "anything", 0) == 0.3


def test_filters_that_match_everything_are_spelt_in_one_way() -> None:
    assert {Rule(filter=text, value=1).filter for text in (None, "", "*")} == {None}


def test_a_filter_with_a_prefix_is_a_regular_expression() -> None:
    rule = Rule(filter=r"re:layers\.[02]\.", value=0.3)
    assert evaluate((rule,), "model.layers.2.mlp", 0) == 0.3
    assert evaluate((rule,), "model.layers.1.mlp", 0) is None
    with pytest.raises(ValidationError, match="no regular expression"):
        Rule(filter="re:(", value=0.3)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"token": "<s>"}, "comes from a model"),
        ({"model": "a", "token": "<s>", "token_id": 1}, "one of token and token_id"),
        ({"model": "a", "token_id": -1}, "greater than or equal to 0"),
    ],
)
def test_a_token_has_one_origin(content: dict[str, object], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        Token.model_validate(content)


def test_true_stays_true_and_numbers_stay_numbers() -> None:
    assert evaluate(constant(True), "x", 0) is True
    assert Rule.model_validate({"value": 1}).value == 1.0
    assert not isinstance(Rule.model_validate({"value": 1}).value, bool)


@given(st.lists(finite, min_size=1, max_size=40))
def test_a_list_with_one_value_a_layer_gives_each_layer_exactly_its_own(
    values: list[float],
) -> None:
    n = len(values)
    found = [interpolate(tuple(values), position_in_slice(layer, n)) for layer in range(n)]
    assert found == values


@given(st.lists(finite, min_size=2, max_size=6), st.floats(0, 1))
def test_a_gradient_stays_between_its_neighbouring_anchors(
    values: list[float], position: float
) -> None:
    found = interpolate(tuple(values), position)
    slack = 1e-6 * max(1.0, *map(abs, values))
    assert min(values) - slack <= found <= max(values) + slack


def test_a_slice_of_one_layer_takes_the_end_of_a_gradient_as_mergekit_does() -> None:
    assert interpolate((0.0, 1.0), position_in_slice(0, 1)) == 1.0


def test_models_are_listed_once_and_the_base_first() -> None:
    slices = (
        Slice(sources=(Source(model="org/a", layer_range=(0, 2)),), base_model="org/c"),
        Slice(sources=(Source(model="org/a", layer_range=(2, 4)), Source(model="org/b"))),
    )
    recipe = ties(models=None, slices=slices)
    assert recipe.all_models() == ("org/base", "org/c", "org/a", "org/b")
    modules = {"text": Module(slices=slices), "vision": Module(models=(Source(model="org/d"),))}
    inside = ties(models=None, modules=modules)
    assert inside.all_models() == ("org/base", "org/c", "org/a", "org/b", "org/d")
    assert [source.model for source in inside.sources()] == ["org/a", "org/a", "org/b", "org/d"]


def test_the_configuration_spells_a_plain_value_plainly_and_rules_as_a_list() -> None:
    rules = (Rule(filter="mlp", value=(0.0, 1.0)), Rule(value=0.5))
    config = to_config(ties(parameters={"lambda": rules, "normalize": constant(True)}, seed=7))
    assert config["parameters"] == {
        "lambda": [{"filter": "mlp", "value": [0.0, 1.0]}, {"value": 0.5}],
        "normalize": True,
    }
    assert config["models"][0] == {"model": "org/a", "parameters": {"weight": 0.5}}
    assert config["random_seed"] == 7
    assert next(iter(config)) == "merge_method"
