"""mergekit's YAML: read exactly, refused by file and line, written so that it reads back."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evomerge.errors import RecipeError, UsageError
from evomerge.merging.mergekit_yaml import dump_recipe, load_recipe, parse_recipe
from evomerge.recipe import Recipe, Rule, Slice, Source, Tokenizer, constant

TIES = """\
merge_method: ties
base_model: org/base
models:
  - model: org/base
  - model: org/a
    parameters:
      weight: 0.5
      density:
        - filter: mlp
          value: [0.1, 5e-1, 1]
        - value: 0.25
  - model: {model: {path: org/b, revision: main}}
    parameters: {weight: {filter: "*", value: 3e-1}}
parameters:
  normalize: true
  int8_mask: true
dtype: bfloat16
tokenizer_source: base
"""
SLICES = """\
merge_method: slerp
base_model: a
slices:
  - sources:
      - {model: a, layer_range: [0, 4]}
      - {model: b, layer_range: [4, 8]}
    parameters: {t: [0, 1]}
parameters: {t: 0.5}
"""


def test_models_filters_gradients_and_revisions_are_read():
    made = parse_recipe(TIES)
    assert [source.model for source in made.models] == ["org/base", "org/a", "org/b@main"]
    rules = made.models[1].parameters["density"]
    assert rules == (Rule(filter="mlp", value=(0.1, 0.5, 1.0)), Rule(value=0.25))
    assert made.models[2].parameters["weight"] == constant(0.3)
    assert made.parameters["normalize"] == constant(True)
    assert (made.dtype, made.tokenizer) == ("bfloat16", Tokenizer(source="base"))


def test_slices_are_read():
    made = parse_recipe(SLICES)
    assert [source.layer_range for source in made.slices[0].sources] == [(0, 4), (4, 8)]
    assert made.slices[0].parameters["t"] == (Rule(value=(0.0, 1.0)),)


@pytest.mark.parametrize("text", [TIES, SLICES])
def test_what_is_written_reads_back_as_the_same_recipe(text):
    made = parse_recipe(text)
    assert parse_recipe(dump_recipe(made)) == made
    assert parse_recipe(dump_recipe(made)).recipe_id == made.recipe_id


numbers = st.floats(0.001, 1, allow_nan=False)
values = numbers | st.lists(numbers, min_size=1, max_size=4).map(tuple)
settings = st.lists(
    st.builds(Rule, filter=st.none() | st.sampled_from(["mlp", "attn", "a: b", "'"]), value=values),
    min_size=1,
    max_size=3,
).map(tuple)


@given(st.lists(settings, min_size=2, max_size=2), settings, st.integers(0, 2**40))
def test_every_recipe_survives_the_round_trip(own, shared, seed):
    sources = tuple(
        Source(model=model, layer_range=(0, 2), parameters={"weight": setting})
        for model, setting in zip(("x", "y: z"), own, strict=True)
    )
    made = Recipe(
        merge_method="ties",
        base_model="base",
        slices=(Slice(sources=sources, parameters={"density": shared}),),
        dtype="float16",
        seed=seed,
    )
    assert parse_recipe(dump_recipe(made)) == made


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("merge_method: ties", "merge_method: tie", 1, "did you mean 'ties'"),
        ("base_model:", "base_modle:", 2, "did you mean 'base_model'"),
        ("      density:", "      densty:", 8, "did you mean 'density'"),
        ("      weight: 0.5", "      weight: much", 7, "'much'"),
        ("value: 0.25", "value: 0", 8, "above 0"),
        ("value: 0.25", "value: 1.5", 8, "at most 1"),
        ("model: org/a\n", "model: org/a+org/lora\n", 5, "LoRA"),
        ("{path: org/b, revision: main}", "{path: org/b}, lora: x", 12, "LoRA"),
        ("tokenizer_source: base", "tokenizer_source: union", 18, "union"),
        ("tokenizer_source: base", "tokenizer: {source: base, tokens: {a: b}}", 18, "tokens"),
        ("tokenizer_source: base", "modules: {text: {}}", 18, "modules"),
        ("normalize: true", "normalize: often", 15, "'often'"),
        ("normalize: true", "normalize: 3", 15, "true or false"),
        ("  int8_mask: true", "  int8_mask: true: 1", 16, "not valid YAML"),
    ],
)
def test_mistakes_are_named_with_file_line_and_remedy(old, new, line, words):
    assert old in TIES
    with pytest.raises(RecipeError) as caught:
        parse_recipe(TIES.replace(old, new), "my.yml")
    assert caught.value.where.startswith(f"my.yml:{line}")
    assert words in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (TIES + "---\na: 1\n", "2 documents"),
        ("- a\n", "one mapping"),
        ("", "one mapping"),
        (TIES.replace("base_model: org/base\n", ""), "needs a base_model"),
        (TIES.replace("dtype: bfloat16", "dtype: int4"), "int4"),
        (SLICES.replace("[4, 8]", "[4, 7]"), "same length"),
        (SLICES.replace("[4, 8]", "[8, 4]"), "layer_range"),
        (SLICES.replace(", layer_range: [4, 8]", ""), "layer_range is missing"),
        (SLICES + "models: [{model: a}]\n", "exactly one of models and slices"),
        ("merge_method: linear\nmodels: [{model: a}]\n", "weight"),
        ("merge_method: linear\nmodels: {model: a}\n", "list"),
        ("merge_method: slerp\nbase_model: a\nmodels: [{model: b}]\n", "t, which slerp needs"),
        (
            "merge_method: linear\nmodels:\n- {model: a, parameters: {weight: 1}}\n"
            "- {model: b, parameters: {weight: -1}}\n",
            "cancel",
        ),
    ],
)
def test_configurations_that_mean_nothing_are_refused(text, words):
    with pytest.raises(UsageError, match=words):
        parse_recipe(text)


def test_parameters_that_mergekit_never_uses_are_dropped():
    text = TIES.replace("merge_method: ties", "merge_method: task_arithmetic")
    assert set(parse_recipe(text).models[1].parameters) == {"weight"}


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(RecipeError, match=r"none\.yml"):
        load_recipe(tmp_path / "none.yml")


def test_reading_configurations_needs_no_torch():
    code = "import sys, evomerge.merging.mergekit_yaml; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
