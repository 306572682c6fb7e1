"""DAM: where it begins, that it learns, that a killed run goes on, and what its files are good for."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from evomerge.errors import CheckpointError, RecipeError, ResourceError, UsageError
from evomerge.merging.dam.coefficients import inside, load_learned, outside, shape_of
from evomerge.merging.dam.learning import STATE
from evomerge.merging.dam.losses import divergence, overlap, pair_weights, similarity
from evomerge.merging.dam.mofo import Mofo
from evomerge.merging.dam.run import learn
from evomerge.merging.mergekit_yaml import load_recipe
from evomerge.merging.offline import merge_config
from evomerge.zoo.tokenizer import VOCABULARY, make_tokenizer
from tests.alignment.networks import answers, load, make


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


@pytest.fixture
def home(tmp_path):
    """Three random models with tokenizers, and texts of each."""
    return models_in(tmp_path, "llama")


def models_in(folder, family):
    rng = np.random.default_rng(0)
    lines = []
    for seed, name in enumerate(("one", "two", "base")):
        vocabulary = {"vocab_size": len(VOCABULARY)}
        make(family, folder / name, seed, **vocabulary)
        make_tokenizer(64).save_pretrained(str(folder / name))
        texts = ["".join(rng.choice(list("abcdefgh"), 10)) for _ in range(6)]
        lines += [json.dumps({"text": text, "model": name}) for text in texts]
    (folder / "texts.jsonl").write_text("\n".join(lines))
    return folder


def config(home, models=({"model": "one"}, {"model": "two"}), name="dam", top="", **parameters):
    file = home / f"{name}.yml"
    file.write_text(
        f"merge_method: dam\nmodels: {json.dumps(list(models))}\ndtype: float32\n"
        f"calibration: texts.jsonl\nparameters: {json.dumps(parameters)}\n{top}"
    )
    return file


def merged(home, folder, name="merged"):
    merge_config(folder / "merge.yml", home / name)
    return load_file(home / name / "model.safetensors")


def weights(home, name):
    return load_file(home / name / "model.safetensors")


class Killed(BaseException):
    """Ends a run from within."""


@pytest.mark.parametrize("nonlinearity", ["none", "tanh", "sigmoid", "relu"])
def test_before_the_first_step_it_is_the_average(nonlinearity, home):
    file = config(home, nonlinearity=nonlinearity, lr=0.0, steps=1)
    learn(file, home / "out")
    found, one, two = merged(home, home / "out"), weights(home, "one"), weights(home, "two")
    for name in one:
        assert torch.allclose(found[name], (one[name] + two[name]) / 2, atol=1e-6), name


@pytest.mark.parametrize("divergence", ["kl", "mse", "entropy"])
@pytest.mark.parametrize("granularity", ["column", "tensor", "model"])
def test_its_loss_falls(divergence, granularity, home):
    settings = {"divergence": divergence, "granularity": granularity}
    learned = learn(config(home, lr=0.02, steps=30, batch_size=3, **settings), home / "out")
    losses = learned.about["losses"]
    share = 0.97 if divergence == "kl" and granularity == "column" else 1.0
    assert np.mean(losses[-6:]) < share * np.mean(losses[:6])


def test_a_killed_run_goes_on_bit_for_bit(home):
    file = config(home, lr=0.01, steps=12, batch_size=2)
    undisturbed = learn(file, home / "whole", save_every=4)

    def kill(step, steps, loss):
        if step == 10:
            raise Killed

    with pytest.raises(Killed):
        learn(file, home / "out", save_every=4, report=kill)
    assert (home / "out" / STATE).is_file()
    resumed = learn(file, home / "out", save_every=4)
    assert resumed.about["losses"] == undisturbed.about["losses"]
    assert all(torch.equal(resumed.values[n], x) for n, x in undisturbed.values.items())
    assert not (home / "out" / STATE).exists()


def test_the_state_of_another_configuration_is_refused(home):
    def kill(step, steps, loss):
        if step == 3:
            raise Killed

    with pytest.raises(Killed):
        learn(config(home, steps=5), home / "out", save_every=2, report=kill)
    with pytest.raises(UsageError, match="another configuration"):
        learn(config(home, steps=5, temperature=3), home / "out")


@pytest.mark.parametrize("family", ["gpt2", "mixtral", "qwen2"])
def test_every_family_learns_and_merges_to_a_model_that_loads(family, tmp_path):
    home = models_in(tmp_path, family)
    learned = learn(config(home, lr=0.02, steps=3, norms=True, embeddings=True), home / "out")
    assert all((x != 0.5).any() for n, x in learned.values.items() if x.dim() == 3)
    merged(home, home / "out")
    assert answers(load(family, home / "merged")).isfinite().all()


def test_frozen_embeddings_and_norms_stay_the_average(home):
    learned = learn(config(home, lr=0.05, steps=3), home / "out")
    for name, value in learned.values.items():
        frozen = "norm" in name or "embed" in name
        assert bool((value == 0.5).all()) == frozen, name


def test_a_winner_is_polished_and_does_not_teach(home):
    """A merge by weight 1 and the rest by 0 begins at the winner, whatever it is."""
    models = [
        {"model": "base", "parameters": {"weight": 1, "teacher": False}},
        {"model": "one", "parameters": {"weight": 0}},
        {"model": "two", "parameters": {"weight": 0}},
    ]
    learn(config(home, models, lr=0.0, steps=1), home / "out")
    found = merged(home, home / "out")
    assert all(torch.equal(found[n], x) for n, x in weights(home, "base").items())


def test_a_search_can_start_from_the_means(home):
    learned = learn(config(home, lr=0.02, steps=5, top="base_model: base\n"), home / "out")
    start = load_recipe(home / "out" / "start.yml")
    assert start.merge_method == "task_arithmetic"
    first = start.models[0].parameters["weight"][0].value
    names = [n for n, x in learned.values.items() if ".layers." in n and x.dim() == 3]
    expected = np.mean([float(learned.values[n][0].mean()) for n in names])
    assert first == pytest.approx(expected, abs=6e-4)
    assert start.models[0].model == str(home / "one")
    merge_config(home / "out" / "start.yml", home / "started")


def test_coefficients_of_other_models_and_missing_ones_are_refused(home):
    learn(config(home, steps=1), home / "out")
    with pytest.raises(ResourceError, match="already"):
        learn(config(home, steps=1), home / "out")
    text = (home / "out" / "merge.yml").read_text()
    other = home / "out" / "other.yml"
    other.write_text(text.replace(str(home / "two"), str(home / "base")))
    with pytest.raises(CheckpointError, match="learned for"):
        merge_config(other, home / "x")
    with pytest.raises(RecipeError, match="evomerge dam"):
        merge_config(config(home), home / "x")


def test_terms_against_independent_formulas():
    values = {"a": torch.tensor([[[1.0, 2.0]], [[3.0, -1.0]], [[0.5, 0.5]]])}
    c = values["a"].flatten(1).double().numpy()
    pairs = [(0, 1), (0, 2), (1, 2)]
    cosines = [c[i] @ c[j] / np.linalg.norm(c[i]) / np.linalg.norm(c[j]) for i, j in pairs]
    assert float(similarity(values.values())) == pytest.approx(np.mean(cosines), rel=1e-5)
    shared = sum(np.minimum(abs(c[i]), abs(c[j])).sum() for i, j in pairs)
    assert float(overlap(values)) == pytest.approx(shared)
    rng = np.random.default_rng(0)
    deltas = rng.normal(size=(2, 5, 3))
    got = pair_weights([torch.tensor(d) for d in deltas], 3)[0].numpy()
    for k in range(3):
        one, two = deltas[:, :, k]
        angle = np.arccos(one @ two / np.linalg.norm(one) / np.linalg.norm(two))
        assert got[k] == pytest.approx(np.sin(2 * angle) ** 2, rel=1e-4)


def test_the_divergence_against_float64():
    rng = np.random.default_rng(1)
    t, m = rng.normal(size=(2, 4, 6))

    def p(x):
        return np.exp(x / 2) / np.exp(x / 2).sum(-1, keepdims=True)

    expected = (p(t) * np.log(p(t) / p(m))).sum(-1).mean() * 4
    got = divergence("kl", torch.tensor(t), torch.tensor(m), 2.0)
    assert float(got) == pytest.approx(expected)


def test_mofo_with_all_entries_is_adamw_and_with_a_share_changes_that_many():
    generator = torch.Generator().manual_seed(0)
    start = torch.randn(10, generator=generator)
    gradients = torch.randn(5, 10, generator=generator)
    reference = torch.nn.Parameter(start.clone())
    adamw = torch.optim.AdamW([reference], lr=0.01, weight_decay=0.1)
    mine, few = start.clone().requires_grad_(True), start.clone().requires_grad_(True)
    all_entries, some = Mofo(0.01, 1.0, 0.1, 1e9), Mofo(0.01, 0.3, 0.0, 1e9)
    for number, gradient in enumerate(gradients):
        reference.grad, mine.grad, few.grad = (gradient.clone() for _ in range(3))
        adamw.step()
        all_entries.update({"x": mine})
        some.update({"x": few})
        if number == 0:
            assert int((few.detach() != start).sum()) == 3
    assert torch.allclose(mine, reference, atol=1e-6)


def test_coefficients_lie_along_inputs():
    assert shape_of("x.q_proj.weight", (6, 4), column=True, transposed=False) == (1, 4)
    assert shape_of("x.c_fc.weight", (4, 6), column=True, transposed=True) == (4, 1)
    assert shape_of("x.q_proj.bias", (6,), column=True, transposed=False) == (1,)
    assert shape_of("x.input_layernorm.weight", (6,), column=True, transposed=False) == (6,)
    for kind in ("none", "tanh", "sigmoid"):
        value = torch.tensor([0.3, 0.6])
        assert torch.allclose(outside(inside(value, kind), kind), value, atol=1e-6)


def test_a_file_without_coefficients_is_refused(tmp_path):
    (tmp_path / "x.safetensors").write_bytes(b"nothing")
    with pytest.raises(CheckpointError, match="evomerge dam"):
        load_learned(tmp_path / "x.safetensors")
