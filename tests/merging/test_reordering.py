"""`align: permutation` and PLeaS on checkpoints: the written models, and what they answer."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from evomerge.errors import CheckpointError, EvomergeError, NotFoundError
from evomerge.evaluation.calibrated import calibrate
from evomerge.evaluation.calibration_works import works_of_file
from evomerge.merging.offline import merge_config
from evomerge.merging.validate import find_problems
from evomerge.recipe import Recipe, Source
from evomerge.zoo.tokenizer import VOCABULARY, make_tokenizer
from tests.alignment.networks import answers, groups_of, load, make, random_orders, shuffled


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def copy_in_another_order(folder, out, seed=1):
    """The same network with its units shuffled."""
    out.mkdir()
    config = json.loads((folder / "config.json").read_text())
    tensors = load_file(folder / "model.safetensors")
    groups = groups_of(config, tensors)
    moved = shuffled(tensors, groups, random_orders(groups, seed))
    save_file(moved, out / "model.safetensors", metadata={"format": "pt"})
    (out / "config.json").write_text(json.dumps(config))
    return out


def merged(tmp_path, text, name="out"):
    file = tmp_path / f"{name}.yml"
    file.write_text(text)
    merge_config(file, tmp_path / name)
    return tmp_path / name


def soup(method="linear", extra=""):
    return (
        f"merge_method: {method}\nmodels:\n  - {{model: one}}\n  - {{model: two}}\n"
        f"dtype: float32\n{extra}"
    )


SOUP = soup("linear", "parameters: {weight: 0.5}\n")


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt2", "mixtral"])
def test_a_network_and_its_shuffled_copy_average_to_the_network(family, tmp_path):
    one = make(family, tmp_path / "one")
    copy_in_another_order(one, tmp_path / "two")
    expected = answers(load(family, one))
    plain = answers(load(family, merged(tmp_path, SOUP, "plain")))
    aligned = answers(load(family, merged(tmp_path, SOUP + "align: permutation\n", "aligned")))
    assert torch.allclose(aligned, expected, atol=1e-4)
    assert (plain - expected).abs().max() > 0.1


def measured(tmp_path, text, name="out"):
    """A merge after its models were measured."""
    file = tmp_path / f"{name}.yml"
    file.write_text(text)
    for work in works_of_file(file, ()):
        calibrate(work, device="cpu")
    merge_config(file, tmp_path / name)
    return tmp_path / name


def with_texts(tmp_path, family):
    """A network and its shuffled copy, with tokenizers and texts."""
    one = make(family, tmp_path / "one", vocab_size=len(VOCABULARY))
    copy_in_another_order(one, tmp_path / "two")
    for name in ("one", "two"):
        make_tokenizer(64).save_pretrained(str(tmp_path / name))
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefgh"), 12)) for _ in range(40)]
    (tmp_path / "texts.txt").write_text("\n".join(words))
    return one


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
def test_matching_by_activations_undoes_a_shuffle(family, tmp_path):
    one = with_texts(tmp_path, family)
    text = SOUP + "align: activations\ncalibration: texts.txt\n"
    got = answers(load(family, measured(tmp_path, text)))
    assert torch.allclose(got, answers(load(family, one)), atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2"])
@pytest.mark.parametrize("matching", ["weights", "activations"])
def test_least_squares_leave_a_network_and_its_copy_what_they_are(family, matching, tmp_path):
    """Both networks' outputs are met exactly already; with units apart as without."""
    one = with_texts(tmp_path, family)
    for ratio in (0, 0.5):
        rules = f"[{{filter: mlp, value: {ratio}}}, {{value: 0}}]"
        text = soup("pleas", f"parameters: {{ratio: {rules}, matching: {matching}}}\n")
        out = measured(tmp_path, text + "calibration: texts.txt\n", f"out{ratio}")
        assert torch.allclose(answers(load(family, out)), answers(load(family, one)), atol=1e-3)


def test_align_is_written_into_the_configuration_and_read_back(tmp_path):
    one = make("llama", tmp_path / "one")
    copy_in_another_order(one, tmp_path / "two")
    out = merged(tmp_path, SOUP + "align: permutation\n")
    assert "align: permutation" in (out / "mergekit_config.yml").read_text()


def test_an_unknown_alignment_and_one_with_statistics_are_refused():
    models = (Source(model="a"), Source(model="b"))
    for method, align, words in [
        ("karcher", "permutations", "permutation"),
        ("regmean", "permutation", "statistics"),
        ("pleas", "permutation", "by itself"),
    ]:
        recipe = Recipe(merge_method=method, models=models, align=align)
        assert any(words in str(problem) for problem in find_problems(recipe)), method


def pleas(ratio, more=""):
    return soup(
        "pleas", f"parameters: {{ratio: {ratio}, least_squares: false, matching: weights{more}}}\n"
    )


def test_pleas_with_nothing_apart_in_place_is_the_average(tmp_path):
    make("llama", tmp_path / "one", 1)
    make("llama", tmp_path / "two", 2)
    out = merged(tmp_path, soup("pleas", "parameters: {least_squares: false, matching: place}\n"))
    one, two, got = (
        load_file(tmp_path / n / "model.safetensors") for n in ("one", "two", out.name)
    )
    for name in one:
        assert torch.equal(got[name], one[name] * 0.5 + two[name] * 0.5), name


@pytest.mark.parametrize("family", ["llama", "qwen3", "mixtral"])
@pytest.mark.parametrize("ratio", ["0.5", "1.0", "[0.0, 1.0]"])
def test_a_shuffled_copy_merged_with_units_apart_answers_as_the_network(family, ratio, tmp_path):
    one = make(family, tmp_path / "one")
    copy_in_another_order(one, tmp_path / "two")
    out = merged(tmp_path, pleas(ratio))
    assert torch.allclose(answers(load(family, out)), answers(load(family, one)), atol=2e-4)
    config = json.loads((out / "config.json").read_text())
    assert config["intermediate_size"] > 20
    assert config["num_key_value_heads"] > 2
    assert config["num_attention_heads"] == 2 * config["num_key_value_heads"]


def test_a_whole_mlp_apart_adds_the_mean_of_what_both_add(tmp_path):
    """All else equal, two MLPs apart compute the mean of the two."""
    one = make("llama", tmp_path / "one")
    tensors = load_file(one / "model.safetensors")
    other = load_file(make("llama", tmp_path / "other", 5) / "model.safetensors")
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "config.json").write_text((one / "config.json").read_text())
    mixed = {name: other[name] if ".mlp." in name else x for name, x in tensors.items()}
    save_file(mixed, tmp_path / "two" / "model.safetensors", metadata={"format": "pt"})
    rules = "[{filter: mlp, value: 1}, {value: 0}]"
    text = soup("pleas", f"parameters: {{ratio: {rules}, least_squares: false, matching: place}}\n")
    model = load("llama", merged(tmp_path, text))
    x = torch.randn(4, 16)
    with torch.no_grad():
        halves = [load("llama", tmp_path / n).model.layers[1].mlp(x) for n in ("one", "two")]
        assert torch.allclose(model.model.layers[1].mlp(x), sum(halves) / 2, atol=1e-5)


def test_a_budget_bounds_the_size(tmp_path):
    make("llama", tmp_path / "one", 1)
    make("llama", tmp_path / "two", 2)
    out = merged(tmp_path, pleas(0, ", budget: 1.3"))
    size = sum(x.numel() for x in load_file(out / "model.safetensors").values())
    before = sum(x.numel() for x in load_file(tmp_path / "one" / "model.safetensors").values())
    assert 1.1 < size / before <= 1.31


@pytest.mark.parametrize("favoured", ["mlp", "heads"])
def test_a_budget_goes_to_the_groups_that_matter(favoured, tmp_path):
    make("llama", tmp_path / "one", 1)
    make("llama", tmp_path / "two", 2)
    rules = f"[{{filter: {favoured}, value: 10}}, {{value: 0.01}}]"
    out = merged(tmp_path, pleas(0, f", budget: 1.4, importance: {rules}"))
    config = json.loads((out / "config.json").read_text())
    grown = config["intermediate_size"] / 20, config["num_key_value_heads"] / 2
    assert (grown[0] > 1.5) == (favoured == "mlp")
    assert (grown[1] > 1.5) == (favoured == "heads")


def test_the_same_ratio_for_all_groups_is_a_variant(tmp_path):
    make("llama", tmp_path / "one", 1)
    make("llama", tmp_path / "two", 2)
    out = merged(tmp_path, pleas(0, ", budget: 2, allocation: even"))
    config = json.loads((out / "config.json").read_text())
    assert (config["intermediate_size"], config["num_key_value_heads"]) == (40, 4)


def test_heads_of_gpt2_cannot_be_widened_and_the_error_says_what_to_write(tmp_path):
    make("gpt2", tmp_path / "one", 1)
    make("gpt2", tmp_path / "two", 2)
    with pytest.raises(CheckpointError, match=r"(?s)heads cannot be widened.*filter: mlp"):
        merged(tmp_path, pleas(0.5))
    out = merged(tmp_path, pleas("[{filter: mlp, value: 0.5}, {value: 0}]"))
    assert load("gpt2", out).config.n_inner == 96


def test_least_squares_without_texts_name_what_is_missing(tmp_path):
    make("llama", tmp_path / "one", 1)
    make("llama", tmp_path / "two", 2)
    with pytest.raises(EvomergeError, match="calibration"):
        merged(tmp_path, soup("pleas"))
    (tmp_path / "texts.txt").write_text("a few words\n")
    with pytest.raises(NotFoundError, match="evomerge calibrate"):
        merged(tmp_path, soup("pleas", "calibration: texts.txt\n"))
