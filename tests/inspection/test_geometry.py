"""Distances, cosines and conflicts are what their formulas say; the base is told where it can be."""

import json

import numpy as np
import pytest
import torch

from evomerge.errors import CheckpointError
from evomerge.inspection import Pair, inspect_models
from tests.inspection.models import flat, star
from tests.merging.adapters import factors, linear, save_adapter
from tests.merging.tokenizers import model as word_model
from tests.support import write_checkpoint


@pytest.fixture
def models(tmp_path):
    return star(tmp_path, {"a": {"u": 1.0}, "b": {"u": 0.5, "v": 1.0}, "c": {"w": 2.0}})


def vectors(models):
    base = flat(models["base"])
    return {name: flat(path) - base for name, path in models.items() if name != "base"}


def test_distance_and_cosine_are_those_of_the_task_vectors(models):
    experts = [models[name] for name in "abc"]
    whole = inspect_models(experts, models["base"]).geometry.whole
    deltas, norm = vectors(models), np.linalg.norm(flat(models["base"]))
    for name in "abc":
        assert whole.distance[models[name]] == pytest.approx(
            np.linalg.norm(deltas[name]) / norm, rel=1e-6
        )
        assert whole.mean_change[models[name]] == pytest.approx(
            np.abs(deltas[name]).mean(), rel=1e-6
        )
    a, b = deltas["a"], deltas["b"]
    expected = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    assert whole.cosine[Pair(models["a"], models["b"])] == pytest.approx(expected, rel=1e-6)


def test_conflicts_are_counted_in_the_top_fifth_of_each_tensor(models):
    from safetensors.torch import load_file

    experts = [models["a"], models["b"]]
    whole = inspect_models(experts, models["base"]).geometry.whole
    base, *tuned = [load_file(f"{path}/model.safetensors") for path in (models["base"], *experts)]
    both = opposed = own = 0
    for name, weight in base.items():
        deltas = [(one[name] - weight).numpy().ravel() for one in tuned]
        keep = max(1, int(0.2 * weight.numel()))
        kept = [
            np.isin(np.arange(len(d)), np.argsort(-np.abs(d), kind="stable")[:keep]) for d in deltas
        ]
        shared = kept[0] & kept[1]
        both += shared.sum()
        own += kept[0].sum()
        opposed += (shared & (np.sign(deltas[0]) != np.sign(deltas[1]))).sum()
    pair = Pair(*experts)
    assert whole.opposed[pair] == pytest.approx(opposed / both)
    assert whole.shared[pair] == pytest.approx(both / own)
    assert whole.conflict == pytest.approx(opposed / both)


def test_regions_cover_every_entry_once(models):
    found = inspect_models([models["a"], models["b"]], models["base"], layer_groups=3).geometry
    for regions in (found.by_kind, found.by_layers, found.regions):
        assert sum(region.parameters for region in regions) == found.whole.parameters
    assert [region.layers for region in found.by_layers] == [
        "outside",
        "layers 0–1",
        "layer 2",
        "layer 3",
    ]


def test_large_tensors_are_measured_in_chunks_with_the_same_result(models, monkeypatch):
    from evomerge.inspection import measure

    whole = inspect_models([models["a"], models["b"]], models["base"]).geometry.whole
    monkeypatch.setattr(measure, "_CHUNK", 7)
    small = inspect_models([models["a"], models["b"]], models["base"]).geometry.whole
    pair = Pair(models["a"], models["b"])
    assert (small.opposed, small.shared, small.conflict) == (
        whole.opposed,
        whole.shared,
        whole.conflict,
    )
    assert small.cosine[pair] == pytest.approx(whole.cosine[pair], rel=1e-9)


def test_a_sample_reads_only_its_layers(models):
    found = inspect_models([models["a"]], models["base"], sample=2, layer_groups=4).geometry
    assert found.layers_read == (0, 3)
    assert [region.layers for region in found.by_layers] == ["outside", "layer 0", "layer 3"]


def test_the_base_among_fine_tunes_is_guessed_from_the_weights(models):
    names = [models[name] for name in ("a", "base", "c", "b")]
    found = inspect_models(names).geometry
    assert found.base == models["base"]
    assert "guess" in found.told_by
    assert found.models == tuple(models[name] for name in "acb")


def test_unrelated_models_have_no_base(tmp_path):
    names = [str(write_checkpoint(tmp_path / name, seed)) for seed, name in enumerate("xyz")]
    found = inspect_models(names)
    assert found.geometry is None
    assert "--base" in found.no_geometry


def test_a_model_card_that_names_one_of_the_models_tells_the_base(models, tmp_path):
    (tmp_path / "a" / "README.md").write_text("---\nbase_model: org/base\n---\n# a\n")
    found = inspect_models([models["a"], models["base"]]).geometry
    assert (found.base, found.models) == (models["base"], (models["a"],))
    assert "declares" in found.told_by


def test_a_model_card_that_cannot_be_read_declares_nothing(models, tmp_path):
    (tmp_path / "a" / "README.md").write_text("---\nbase_model: [\n---\n")
    assert inspect_models([models["a"], models["base"]]).geometry is None


def test_adapters_are_measured_against_the_model_that_they_sit_on(tmp_path):
    base = write_checkpoint(tmp_path / "base", 0)
    module = "model.layers.1.self_attn.q_proj"
    a, b = factors((8, 8), 4, seed=1)
    save_adapter(tmp_path / "lora", linear(module, a, b))
    found = inspect_models([f"{base}+{tmp_path / 'lora'}"])
    name = f"{base}+{tmp_path / 'lora'}"
    expected = float(torch.linalg.norm(2.0 * b @ a)) / np.linalg.norm(flat(str(base)))
    assert found.geometry.base == str(base)
    assert found.geometry.whole.distance[name] == pytest.approx(expected, rel=1e-5)
    assert (found.models[0].adapter.rank, found.models[0].adapter.tensors) == (4, 1)


def test_rows_are_compared_by_token_where_vocabularies_differ(tmp_path):
    base, weights = word_model(tmp_path / "base", ["red", "green", "blue"], 0)
    other, theirs = word_model(tmp_path / "other", ["blue", "red", "pink"], 1)
    names = [str(tmp_path / "other")]
    found = inspect_models(names, str(tmp_path / "base"))
    rows = ["<unk>", "<s>", "</s>", "red", "blue"]
    ours, others = (
        torch.stack([w["lm_head.weight"][t.token_to_id(token)] for token in rows])
        for t, w in ((base, weights), (other, theirs))
    )
    head = next(region for region in found.geometry.by_kind if region.kind == "head")
    assert head.parameters == ours.numel()
    assert head.distance[names[0]] == pytest.approx(
        float(torch.linalg.norm(others - ours) / torch.linalg.norm(ours)), rel=1e-5
    )
    assert "differs" in found.models[1].tokenizer


def test_models_that_do_not_fit_are_described_and_not_measured(tmp_path):
    base = write_checkpoint(tmp_path / "base", 0)
    odd = write_checkpoint(
        tmp_path / "odd",
        1,
        **{"model.layers.0.mlp.up_proj.weight": np.zeros((4, 8), np.float32)},
    )
    found = inspect_models([str(odd)], str(base))
    assert found.geometry is None
    assert "shapes differ" in found.models[1].misfits[0]
    assert "shapes differ" in found.reading[0].text


def test_a_model_that_is_not_there_is_a_mistake_with_a_remedy(tmp_path):
    with pytest.raises(CheckpointError, match="no such model folder"):
        inspect_models([str(tmp_path / "nowhere with space")])


def test_two_models_without_a_declared_base_are_not_compared(models):
    found = inspect_models([models["a"], models["b"]])
    assert found.geometry is None


def test_what_a_config_says_is_in_the_facts(tmp_path):
    folder = write_checkpoint(tmp_path / "moe", 0)
    config = json.loads((folder / "config.json").read_text())
    extra = {"num_local_experts": 8, "tie_word_embeddings": True}
    (folder / "config.json").write_text(json.dumps({**config, **extra}))
    (found,) = inspect_models([str(folder)]).models
    assert (found.architecture, found.layers, found.hidden_size) == ("LlamaForCausalLM", 4, 8)
    assert (found.experts, found.tied_embeddings, found.dtypes.keys()) == (8, True, {"float32"})
