"""Whatever order the units of a transformer are brought into, it computes the same; matching finds it."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from evomerge.alignment.groups import all_groups
from evomerge.alignment.transformers import transformer_groups
from evomerge.alignment.weights import match_weights, reader
from evomerge.errors import CheckpointError
from tests.alignment.networks import (
    FAMILIES,
    answers,
    groups_of,
    load,
    make,
    random_orders,
    shuffled,
)


def opened(folder):
    config = json.loads((folder / "config.json").read_text())
    return config, load_file(folder / "model.safetensors")


@pytest.mark.parametrize("family", FAMILIES)
def test_any_order_of_all_units_leaves_the_function_as_it_is(family, tmp_path):
    folder = make(family, tmp_path / "model")
    expected = answers(load(family, folder))
    config, tensors = opened(folder)
    groups = groups_of(config, tensors)
    moved = shuffled(tensors, groups, random_orders(groups, 1))
    assert sum(not torch.equal(moved[name], tensors[name]) for name in tensors) > len(tensors) / 2
    save_file(moved, folder / "model.safetensors", metadata={"format": "pt"})
    assert torch.allclose(answers(load(family, folder)), expected, atol=1e-4)


@pytest.mark.parametrize("family", ["llama", "gpt2", "qwen2", "mixtral"])
def test_matching_by_weights_undoes_a_shuffle(family, tmp_path):
    config, tensors = opened(make(family, tmp_path / "model"))
    groups = groups_of(config, tensors)
    moved = shuffled(tensors, groups, random_orders(groups, 2))
    orders = match_weights(groups, reader(tensors), reader(moved))
    back = shuffled(moved, groups, orders)
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


def test_fine_tunes_keep_the_order_they_have(tmp_path):
    config, tensors = opened(make("llama", tmp_path / "model"))
    groups = groups_of(config, tensors)
    tuned = {name: x + 0.01 * torch.randn_like(x) for name, x in tensors.items()}
    orders = match_weights(groups, reader(tensors), reader(tuned))
    for group in all_groups(groups):
        assert np.array_equal(orders[group.name], np.arange(group.size))


def test_a_tensor_that_no_rule_speaks_of_is_refused():
    shapes = {"model.layers.0.mixer.conv1d.weight": (8, 8), "model.norm.weight": (8,)}
    with pytest.raises(CheckpointError, match=r"conv1d\.weight"):
        transformer_groups({"hidden_size": 8, "num_attention_heads": 2}, shapes)
