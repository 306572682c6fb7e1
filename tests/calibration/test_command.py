"""`evomerge calibrate`, and `evomerge merge` after it: from a file to a merged model."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from evomerge.calibration.recipes import pinned
from evomerge.cli.app import app
from evomerge.errors import EvomergeError, RecipeError
from evomerge.merging.merge import MergeSource
from evomerge.merging.mergekit_yaml import dump_recipe, load_recipe, parse_recipe
from evomerge.recipe import Calibration, Recipe, Source
from tests.calibration import models as families
from tests.calibration.models import save, sentences


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Three models and texts."""
    for seed, name in enumerate(("base", "one", "two")):
        save(families.llama, tmp_path / name, seed)
    (tmp_path / "texts.txt").write_text("\n".join(sentences(6)))
    return tmp_path


def configuration(home: Path, method: str = "regmean", texts: str = "texts.txt") -> Path:
    file = home / "merge.yml"
    file.write_text(
        f"merge_method: {method}\nbase_model: base\nmodels: [{{model: one}}, {{model: two}}]\n"
        f"calibration: {texts}\n"
    )
    return file


def run(*arguments: str) -> str:
    done = CliRunner().invoke(app, [str(one) for one in arguments], catch_exceptions=True)
    if isinstance(done.exception, EvomergeError):
        raise done.exception
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def test_a_merge_that_was_not_measured_names_the_command_and_then_works(home: Path) -> None:
    file = configuration(home)
    with pytest.raises(
        EvomergeError, match="not measured yet: input_grams of one, and 1 more"
    ) as e:
        run("merge", file, home / "out")
    assert "evomerge calibrate" in str(e.value)
    assert not (home / "out").exists()
    rows = json.loads(run("calibrate", file, "--format", "json"))["statistics"]
    assert [(row["statistic"], row["model"]) for row in rows] == [
        ("input_grams", "one"),
        ("input_grams", "two"),
    ]
    assert all(row["examples"] == 6 and row["tokens"] > 20 for row in rows)
    run("merge", file, home / "out")
    merged, one, two = (
        load_file(home / name / "model.safetensors") for name in ("out", "one", "two")
    )
    norm = "model.norm.weight"
    assert torch.equal(merged[norm], (one[norm] + two[norm]) / 2)
    linear = "model.layers.0.mlp.down_proj.weight"
    assert not torch.allclose(merged[linear], (one[linear] + two[linear]) / 2, atol=1e-3)
    assert "calibration: texts.txt" in (home / "out" / "mergekit_config.yml").read_text()


def test_measuring_again_measures_nothing(home: Path) -> None:
    file = configuration(home)
    first = json.loads(run("calibrate", file, "--format", "json"))
    again = json.loads(run("calibrate", file, "--format", "json"))
    assert first == again  # seconds too: they are what it took the first time


def test_a_recipe_without_texts_is_told_to_name_some(home: Path) -> None:
    file = home / "bare.yml"
    file.write_text("merge_method: fisher\nmodels: [{model: one}, {model: two}]\n")
    for command in (("calibrate", file), ("merge", file, home / "out")):
        with pytest.raises(EvomergeError, match="no calibration texts are named"):
            run(*command)


def test_a_file_that_needs_nothing_is_told_so_unless_statistics_are_named(home: Path) -> None:
    file = configuration(home, "linear\nparameters: {weight: 1}")
    with pytest.raises(EvomergeError, match="need no statistics"):
        run("calibrate", file)
    rows = json.loads(run("calibrate", file, "--statistic", "sensitivity", "--format", "json"))
    assert {row["statistic"] for row in rows["statistics"]} == {"sensitivity"}
    with pytest.raises(EvomergeError, match="did you mean 'fisher'"):
        run("calibrate", file, "--statistic", "fishr")


@pytest.mark.parametrize("method", ["fisher", "mats", "sens_merging", "sens_dare"])
def test_every_method_goes_from_texts_to_a_model(home: Path, method: str) -> None:
    file = configuration(home, method)
    run("calibrate", file)
    run("merge", file, home / "out")
    merged = load_file(home / "out" / "model.safetensors")
    assert all(bool(tensor.isfinite().all()) for tensor in merged.values())


@pytest.mark.parametrize("make", [families.gpt2, families.qwen, families.mixtral])
def test_regmean_of_equal_models_is_the_model_whatever_its_family(make, tmp_path: Path) -> None:
    for name in ("one", "two", "base"):
        save(make, tmp_path / name, 4)
    (tmp_path / "texts.txt").write_text("\n".join(sentences(5)))
    file = configuration(tmp_path)
    run("calibrate", file)
    run("merge", file, tmp_path / "out")
    merged = load_file(tmp_path / "out" / "model.safetensors")
    one = load_file(tmp_path / "one" / "model.safetensors")
    assert merged.keys() == one.keys()
    assert all(torch.allclose(merged[name], one[name], atol=1e-6) for name in one)


def test_gpt2s_transposed_weights_are_merged_as_least_squares_say(tmp_path: Path) -> None:
    """RegMean with α = 1: what both models answer to their own inputs is met best."""
    for seed, name in enumerate(("base", "one", "two")):
        save(families.gpt2, tmp_path / name, seed)
    (tmp_path / "texts.txt").write_text("\n".join(sentences(12)))
    file = configuration(tmp_path, "regmean\nparameters: {alpha: 1.0, ridge: 0.0}")
    run("calibrate", file)
    run("merge", file, tmp_path / "out")
    name, inputs = "transformer.h.1.mlp.c_proj.weight", []
    weights = []
    for model in ("one", "two"):
        loaded = families.load(tmp_path / model)
        module = loaded.model.get_submodule(name.removesuffix(".weight"))
        rows = []
        module.register_forward_hook(
            lambda m, args, out, rows=rows: rows.append(args[0].reshape(-1, 24))
        )
        for text in sentences(12):
            with torch.no_grad():
                loaded.model(**loaded.tokenizer(text, return_tensors="pt"))
        inputs.append(torch.cat(rows).double())
        weights.append(module.weight.detach().double())
    merged = load_file(tmp_path / "out" / "model.safetensors")[name].double()
    scale = [len(x) for x in inputs]
    slope = sum(
        x.T @ (x @ (merged - w)) / n for x, w, n in zip(inputs, weights, scale, strict=True)
    )
    start = sum(x.T @ (x @ w) / n for x, w, n in zip(inputs, weights, scale, strict=True))
    assert float(slope.norm() / start.norm()) < 1e-3


def test_models_with_other_tokens_are_refused_by_sens_merging(home: Path) -> None:
    tokenizer = home / "two" / "tokenizer.json"
    content = json.loads(tokenizer.read_text())
    content["pre_tokenizer"]["add_prefix_space"] = True
    tokenizer.write_text(json.dumps(content))
    file = configuration(home, "sens_merging")
    run("calibrate", file)
    with pytest.raises(EvomergeError, match="cannot be compared"):
        run("merge", file, home / "out")


def test_texts_may_be_given_model_by_model(home: Path) -> None:
    (home / "one.jsonl").write_text('{"text": "pear stone"}\n')
    file = configuration(home, texts="{data: texts.txt, own: {one: one.jsonl}, examples: 4}")
    rows = json.loads(run("calibrate", file, "--format", "json"))["statistics"]
    assert [row["examples"] for row in rows] == [1, 4]
    run("merge", file, home / "out")


@pytest.mark.parametrize(
    "calibration",
    [
        Calibration(data="set:0123456789abcdef"),
        Calibration(data="t.txt", own={"one": "o.jsonl"}, examples=7, max_length=99),
        Calibration(own={"one": "o.jsonl"}),
    ],
)
def test_a_recipes_texts_survive_its_yaml(calibration: Calibration) -> None:
    recipe = Recipe(merge_method="fisher", models=(Source(model="one"),), calibration=calibration)
    assert parse_recipe(dump_recipe(recipe)) == recipe
    assert Recipe.model_validate_json(recipe.canonical_json()) == recipe
    bare = recipe.model_copy(update={"calibration": None})
    assert bare.recipe_id != recipe.recipe_id
    assert "calibration" not in bare.canonical_json()


@pytest.mark.parametrize("block", ["5", "{examples: 0}", "{texts: t.txt}", "[a, b]"])
def test_a_wrong_block_is_refused_with_its_line(block: str) -> None:
    text = f"merge_method: fisher\nmodels: [{{model: one}}]\ncalibration: {block}\n"
    with pytest.raises(RecipeError, match="calibration") as caught:
        parse_recipe(text, "merge.yml")
    assert caught.value.where == "merge.yml:3"


def test_a_second_candidate_reads_no_text_and_compares_no_logits_again(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evomerge.calibration import sets
    from evomerge.merging import calibrated

    file = configuration(home, "sens_merging")
    run("calibrate", file)
    recipe = pinned(load_recipe(file), home)
    calls: list[str] = []
    for owner, name in ((sets, "digest"), (calibrated, "fingerprint"), (calibrated, "read_header")):
        function = getattr(owner, name)
        monkeypatch.setattr(
            owner, name, lambda *a, f=function, n=name, **k: (calls.append(n), f(*a, **k))[1]
        )
    compare = calibrated.Calibrated._distance
    monkeypatch.setattr(
        calibrated.Calibrated, "_distance", lambda *a: (calls.append("compare"), compare(*a))[1]
    )
    folders = {name: home / name for name in ("base", "one", "two")}
    with MergeSource(folders) as source:
        first = dict(source.merge(recipe))
        assert {"digest", "fingerprint", "read_header", "compare"} <= set(calls)
        calls.clear()
        second = dict(source.merge(recipe.model_copy(update={"seed": 5})))
    assert calls == []
    assert all(torch.equal(first[name], second[name]) for name in first)
