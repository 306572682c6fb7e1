"""mergekit's YAML: read exactly, refused by file and line, written so that it reads back."""

import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evomerge.errors import RecipeError, UsageError
from evomerge.merging.mergekit_yaml import dump_recipe, load_recipe, parse_recipe
from evomerge.recipe import Module, Recipe, Rule, Slice, Source, Token, Tokenizer, constant

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
MODULES = """\
merge_method: task_arithmetic
base_model: b
modules:
  vision_tower:
    models:
      - model: x
    parameters: {weight: 0.5}
  model.language_model:
    slices:
      - sources:
          - {model: x, layer_range: [0, 2]}
          - {model: y, layer_range: [2, 4]}
        base_model: y
    parameters: {weight: [0, 1]}
parameters: {lambda: 0.4}
"""
TOKENS = """\
merge_method: linear
models:
  - {model: "x@v1+ad@v2", parameters: {weight: "1e-1"}}
  - {model: y, parameters: {weight: {value: 2}}}
tokenizer:
  source: union
  tokens:
    <|im_start|>: {source: y}
    <|im_end|>:
      source: {kind: model_token, model: y, token: </s>}
      force: true
    <pad>: {source: {kind: model_token, model: {model: {path: x, revision: v1}, lora: ad@v2}, token_id: 0}}
    <unk>: {source: {kind: zero}}
  pad_to_multiple_of: 64
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


def test_modules_have_models_or_slices_and_parameters_of_their_own():
    made = parse_recipe(MODULES)
    assert made.modules["vision_tower"] == Module(
        models=(Source(model="x"),), parameters={"weight": constant(0.5)}
    )
    assert made.modules["model.language_model"].slices[0].base_model == "y"
    assert made.all_models() == ("b", "y", "x")


def test_tokens_have_rows_of_models_or_of_zeros():
    made = parse_recipe(TOKENS).tokenizer
    assert (made.source, made.pad_to_multiple_of) == ("union", 64)
    assert made.tokens == {
        "<|im_start|>": Token(model="y"),
        "<|im_end|>": Token(model="y", token="</s>", force=True),
        "<pad>": Token(model="x@v1+ad@v2", token_id=0),
        "<unk>": Token(),
    }


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("x", "x"),
        ("x@v1", "x@v1"),
        ("x+ad", "x+ad"),
        ("x@v1+ad@v2", "x@v1+ad@v2"),
        ("{path: x, revision: v1}", "x@v1"),
        ("{model: x, lora: ad}", "x+ad"),
        ("{model: {path: x, revision: v1}, lora: {path: ad, revision: v2}}", "x@v1+ad@v2"),
        ("./c++/x+y", "./c++/x+y"),
        ("{model: {path: x}, lora: null, override_architecture: null}", "x"),
    ],
)
def test_every_way_to_name_a_model_has_one_normal_form(written, read):
    made = parse_recipe(f"merge_method: passthrough\nmodels: [{{model: {written}}}]\n")
    assert [source.model for source in made.models] == [read]


def test_numbers_may_be_written_as_text_and_rules_without_a_list():
    made = parse_recipe(TOKENS)
    assert made.models[0].parameters["weight"] == constant(0.1)
    assert made.models[1].parameters["weight"] == constant(2.0)


def test_options_with_names_are_text():
    text = MODULES.replace("task_arithmetic", "ties").replace("lambda: 0.4", "election: count")
    assert parse_recipe(text).parameters["election"] == constant("count")
    assert parse_recipe(dump_recipe(parse_recipe(text))) == parse_recipe(text)


@pytest.mark.parametrize("text", [TIES, SLICES, MODULES, TOKENS])
def test_what_is_written_reads_back_as_the_same_recipe(text):
    made = parse_recipe(text)
    assert parse_recipe(dump_recipe(made)) == made
    assert parse_recipe(dump_recipe(made)).recipe_id == made.recipe_id


numbers = st.floats(0.001, 1, allow_nan=False)
values = numbers | st.lists(numbers, min_size=1, max_size=4).map(tuple)
filters = st.none() | st.sampled_from(["mlp", "attn", "a: b", "'", "*", r"re:^lm_head|\.[13]\."])
rules = st.lists(st.builds(Rule, filter=filters, value=values), min_size=1, max_size=3).map(tuple)
models = st.sampled_from(["x", "y: z", "org/y@v1", "org/y@v1+ad", "1e5", "null", "./a b+c@d"])
spans = st.integers(0, 9).map(lambda first: (first, first + 2))


def settings(*names):
    return st.fixed_dictionaries({}, optional=dict.fromkeys(names, rules))


def sources(span):
    own = st.fixed_dictionaries({"weight": rules}, optional={"density": rules})
    return st.lists(
        st.builds(Source, model=models, layer_range=span, parameters=own),
        min_size=1,
        max_size=3,
        unique_by=lambda source: (source.model, source.layer_range),
    ).map(tuple)


slices = st.lists(
    st.builds(
        Slice,
        sources=sources(spans),
        base_model=st.none() | st.just("other"),
        parameters=settings("density", "lambda"),
    ),
    min_size=1,
    max_size=2,
).map(tuple)
forms = {"models": sources(st.none()), "slices": slices}
modules = st.one_of(
    st.builds(Module, **{form: made}, parameters=settings("density"))
    for form, made in forms.items()
)
names = st.sampled_from(["vision_tower", "model.visual", "model"])
forms["modules"] = st.dictionaries(names, modules, min_size=1, max_size=3)
tokens = st.one_of(
    st.builds(Token, force=st.booleans()),
    st.builds(Token, model=st.just("base"), token=st.none() | st.text(max_size=3)),
    st.builds(Token, model=st.just("base"), token_id=st.integers(0, 9), force=st.booleans()),
)
tokenizers = st.builds(
    Tokenizer,
    source=st.sampled_from(["union", "base", "org/a@b"]),
    tokens=st.dictionaries(st.text(min_size=1, max_size=5), tokens, max_size=2),
    pad_to_multiple_of=st.none() | st.integers(1, 64),
)
recipes = st.one_of(
    st.builds(
        Recipe,
        merge_method=st.just("ties"),
        base_model=st.just("base"),
        **{form: made},
        parameters=settings("lambda", "density"),
        dtype=st.none() | st.just("float16"),
        out_dtype=st.none() | st.just("bfloat16"),
        tokenizer=st.none() | tokenizers,
        chat_template=st.none() | st.just("{{ messages }}\n"),
        seed=st.integers(0, 2**40),
    )
    for form, made in forms.items()
)


@given(recipes)
def test_every_recipe_survives_the_round_trip(made):
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
        ("model: org/a\n", "model: org/a+\n", 5, "names no model"),
        ("model: org/a\n", "model: org/a@b@c\n", 5, "names no model"),
        ("model: org/a\n", "model: org/a+@c\n", 5, "names no model"),
        ("model: org/a\n", "model: 7\n", 5, "7"),
        ("{path: org/b, revision: main}", "{path: a@b, revision: c}", 12, "names no model"),
        ("{path: org/b, revision: main}", "{revision: main}", 12, "path is missing"),
        ("{path: org/b, revision: main}", "{path: org/b, rev: main}", 12, "unknown key 'rev'"),
        ("{path: org/b, revision: main}", "org/b, lora: 3", 12, "lora"),
        ("{path: org/b, revision: main}", "b, override_architecture: L", 12, "override_arch"),
        ("tokenizer_source: base", "tokenizer_source: base\ntokenizer: {}", 18, "one of the two"),
        ("tokenizer_source: base", "tokenizer: base", 18, "write tokenizer: {source: base}"),
        ("tokenizer_source: base", "tokenizer: {tokens: {a: b}}", 18, "a is not a mapping"),
        ("tokenizer_source: base", "tokenizer: {tokens: {1: {}}}", 18, "quotes"),
        ("tokenizer_source: base", "tokenizer: {tokens: {a: {}}}", 18, "has no source"),
        ("tokenizer_source: base", "tokenizer: {tokens: {a: {sauce: b}}}", 18, "'source'"),
        (
            "tokenizer_source: base",
            "tokenizer: {tokens: {a: {source: b, force: 1}}}",
            18,
            "true or false",
        ),
        (
            "tokenizer_source: base",
            "tokenizer: {tokens: {a: {source: {kind: mean}}}}",
            18,
            "zero or model_token",
        ),
        (
            "tokenizer_source: base",
            "tokenizer: {tokens: {a: {source: {kind: model_token, model: org/a}}}}",
            18,
            "one of token and token_id",
        ),
        ("tokenizer_source: base", "tokenizer: {pad_to_multiple_of: 0}", 18, "at least 1"),
        ("tokenizer_source: base", "modules: {text: {}}", 18, "exactly one of"),
        ("dtype: bfloat16", "chat_template: lama3", 17, "did you mean 'llama3'"),
        ("dtype: bfloat16", "dtype: 16", 17, "write it as text"),
        ("dtype: bfloat16", "random_seed: -1", 17, "whole number"),
        ("value: [0.1, 5e-1, 1]", "value: [0.1, .inf]", 8, "inf"),
        ("value: [0.1, 5e-1, 1]", "value: []", 8, "empty list"),
        ("value: [0.1, 5e-1, 1]", "value: [true, false]", 8, "list of options"),
        ("filter: mlp", "filter: 're:('", 8, "no regular expression"),
        ("normalize: true", "normalise: often", 15, "did you mean 'normalize'"),
        ("normalize: true", "election: loud", 15, "sum or count"),
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
        (SLICES + "models: [{model: a}]\n", "exactly one of models, slices and modules"),
        ("merge_method: linear\nmodules: {}\n", "modules names none"),
        ("merge_method: linear\nmodules: [a]\n", "modules is not a mapping"),
        (MODULES.replace("    models:\n      - model: x\n", ""), "one of models and slices"),
        (MODULES.replace("vision_tower:", "vision tower.:"), "begins no tensor's name"),
        (MODULES.replace("weight: 0.5", "wight: 0.5"), "wight"),
        (MODULES.replace("[2, 4]", "[2, 5]"), r"model.language_model, slice 0.*same length"),
        (TOKENS.replace("model: y, token", "model: z, token"), "none of the merged models"),
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
    with pytest.raises(UsageError, match=rf"(?s){words}"):
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
