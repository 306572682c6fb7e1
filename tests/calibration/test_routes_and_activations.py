"""Activations and routing as they are measured, beside hooks on the modules themselves."""

import json

import numpy as np
import pytest
import torch

from evomerge.calibration.batches import encode
from evomerge.calibration.collectors.activations import drawn_positions
from evomerge.calibration.recipes import pinned
from evomerge.evaluation.calibrated import calibrate
from evomerge.evaluation.calibration_works import works_of_file
from evomerge.merging.calibrated import calibrated
from evomerge.merging.mergekit_yaml import load_recipe
from evomerge.merging.opening import OpenModels
from evomerge.zoo.tokenizer import VOCABULARY, make_tokenizer
from tests.alignment.networks import load, make


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def measured(home, family, names, method, statistic, **parameters):
    """The statistics of the models `names`, as a merge of them sees them."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefgh"), int(rng.integers(4, 14)))) for _ in range(25)]
    (home / "texts.txt").write_text("\n".join(words))
    for seed, name in enumerate(names):
        make(family, home / name, seed, vocab_size=len(VOCABULARY))
        make_tokenizer(64).save_pretrained(str(home / name))
    config = {
        "merge_method": method,
        "models": [{"model": str(home / name)} for name in names],
        "calibration": str(home / "texts.txt"),
        "parameters": parameters,
    }
    file = home / "merge.yml"
    file.write_text(json.dumps(config))
    for work in works_of_file(file, (statistic,)):
        calibrate(work, device="cpu")
    recipe = pinned(load_recipe(file))
    opened = OpenModels({str(home / name): home / name for name in names})
    return calibrated(recipe, {name: opened[name] for name in recipe.all_models()}), words


def test_activations_are_the_inputs_at_the_drawn_tokens_for_every_model(tmp_path):
    known, _ = measured(tmp_path, "llama", ("one", "two"), "pleas", "activations")
    names = [str(tmp_path / name) for name in ("one", "two")]
    for name in names:
        found = known.crosswise("activations", name, names)
        model, caught = load("llama", name), []
        layer = model.model.layers[1].mlp.down_proj
        layer.register_forward_hook(lambda module, args, out: caught.append(args[0][0]))  # noqa: B023
        examples = encode(make_tokenizer(64), known._texts.of(name), 512)
        places = drawn_positions(examples)
        expected = torch.zeros(sum(len(own) for _, own in places.values()), 20)
        for example, (start, own) in places.items():
            with torch.no_grad():
                model(input_ids=torch.tensor([example.ids]))
            expected[start : start + len(own)] = caught.pop()[list(own)]
        assert torch.allclose(found["model.layers.1.mlp.down_proj.weight"], expected, atol=1e-5)
        attention = "model.layers.0.self_attn"
        assert found[f"{attention}.q_proj.weight"] is found[f"{attention}.v_proj.weight"]


@pytest.mark.parametrize("family", ["mixtral", "qwen_moe"])
def test_routing_counts_the_selections_and_multiplies_the_logits(family, tmp_path):
    known, _ = measured(tmp_path, family, ("one",), "m_smoe", "routing")
    name = str(tmp_path / "one")
    found = known.model_values("routing", name)
    assert len(found) == 4
    model = load(family, name)
    examples = encode(make_tokenizer(64), known._texts.of(name), 512)
    block = model.model.layers[0].mlp
    inputs = []
    block.register_forward_pre_hook(lambda module, args: inputs.append(args[0].reshape(-1, 16)))
    with torch.no_grad():
        for example in examples:
            model(input_ids=torch.tensor([example.ids]))
        logits = torch.cat(inputs) @ block.gate.weight.T
    usage = next(x for n, x in found.items() if ".0." in n and n.endswith(":usage"))
    products = next(x for n, x in found.items() if ".0." in n and n.endswith(":products"))
    chosen = torch.bincount(logits.topk(2).indices.flatten(), minlength=4) / (2 * len(logits))
    assert torch.allclose(usage, chosen, atol=1e-6)
    assert torch.allclose(products, logits.T @ logits / len(logits), atol=1e-4)
