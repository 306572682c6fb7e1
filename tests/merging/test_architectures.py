"""Mixtures of experts, Conv1D models, tied heads and odd layer counts, merged by names alone."""

import pytest
import torch

from evomerge.errors import CheckpointError
from evomerge.layout import kind_of, layer_of, read_index
from evomerge.merging.merge import MergeSource
from evomerge.merging.plan import with_layer
from evomerge.merging.statistics import StatisticsCache
from evomerge.recipe import Recipe, Rule, Slice, Source, constant
from tests.merging.checkpoints import random_weights, recipe, save, tuned


def attention(prefix):
    return {f"{prefix}self_attn.{part}_proj.weight": (8, 8) for part in "qkvo"}


def mixtral(layers=4, experts=4):
    """Names and shapes of a very small Mixtral."""
    shapes = {"model.embed_tokens.weight": (20, 8)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        shapes |= attention(prefix)
        shapes[f"{prefix}block_sparse_moe.gate.weight"] = (experts, 8)
        for expert in range(experts):
            for part, shape in (("w1", (12, 8)), ("w2", (8, 12)), ("w3", (12, 8))):
                shapes[f"{prefix}block_sparse_moe.experts.{expert}.{part}.weight"] = shape
        shapes[f"{prefix}input_layernorm.weight"] = (8,)
    return {**shapes, "model.norm.weight": (8,), "lm_head.weight": (20, 8)}


def qwen_moe(layers=4, experts=4):
    """The same for Qwen-MoE, with a shared expert."""
    shapes = {"model.embed_tokens.weight": (20, 8)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}."
        shapes |= attention(prefix)
        shapes[f"{prefix}mlp.gate.weight"] = (experts, 8)
        shapes[f"{prefix}mlp.shared_expert_gate.weight"] = (1, 8)
        for expert in (*(f"experts.{number}" for number in range(experts)), "shared_expert"):
            for part, shape in (("gate", (12, 8)), ("up", (12, 8)), ("down", (8, 12))):
                shapes[f"{prefix}mlp.{expert}.{part}_proj.weight"] = shape
        shapes[f"{prefix}post_attention_layernorm.weight"] = (8,)
    return {**shapes, "model.norm.weight": (8,), "lm_head.weight": (20, 8)}


def gpt2(layers=2):
    """The same for GPT-2 as the hub has it: no prefix, Conv1D, positions, a tied head."""
    shapes = {"wte.weight": (20, 8), "wpe.weight": (16, 8)}
    for layer in range(layers):
        prefix = f"h.{layer}."
        shapes |= {f"{prefix}ln_{n}.{part}": (8,) for n in (1, 2) for part in ("weight", "bias")}
        shapes |= {f"{prefix}attn.c_attn.weight": (8, 24), f"{prefix}attn.c_attn.bias": (24,)}
        shapes |= {f"{prefix}attn.c_proj.weight": (8, 8), f"{prefix}mlp.c_fc.weight": (8, 32)}
        shapes |= {f"{prefix}mlp.c_proj.weight": (32, 8)}
    return {**shapes, "ln_f.weight": (8,), "ln_f.bias": (8,)}


def make(folder, shapes, **config):
    base = random_weights(shapes, 0)
    weights = {"base": base, "a": tuned(base, 1), "b": tuned(base, 2)}
    return {name: save(folder / name, x, **config) for name, x in weights.items()}, weights


def merged(paths, made, said=None):
    with MergeSource(paths, cache=StatisticsCache(on_disk=False), notify=said) as source:
        return dict(source.merge(made))


@pytest.mark.parametrize("shapes", [mixtral(), qwen_moe(), gpt2()], ids=["mixtral", "qwen", "gpt2"])
@pytest.mark.parametrize("method", ["ties", "della", "linear"])
def test_every_tensor_is_merged_and_none_invented(tmp_path, shapes, method):
    paths, weights = make(tmp_path, shapes, tie_word_embeddings="lm_head.weight" not in shapes)
    own = {"weight": 0.5} if method == "linear" else {"weight": 0.5, "density": 0.5}
    result = merged(paths, recipe(method, {"a": own, "b": own}))
    assert {name: tuple(x.shape) for name, x in result.items()} == shapes
    if method == "linear":
        for name, x in result.items():
            mean = (weights["a"][name].float() + weights["b"][name].float()) / 2
            assert torch.equal(x, mean.bfloat16()), name


def test_an_experts_number_is_not_taken_for_a_layer(tmp_path):
    """Expert 3 of layer 1 is in layer 1, also where the layer moves."""
    name = "model.layers.1.block_sparse_moe.experts.3.w1.weight"
    assert layer_of(name) == 1
    assert with_layer(name, 7) == "model.layers.7.block_sparse_moe.experts.3.w1.weight"
    same = "model.layers.3.mlp.experts.3.up_proj.weight"
    assert with_layer(same, 0) == "model.layers.0.mlp.experts.3.up_proj.weight"
    paths, weights = make(tmp_path, mixtral(layers=2))
    assert read_index(paths["base"]).num_layers == 2
    runs = (Source(model="a", layer_range=(1, 2)), Source(model="b", layer_range=(0, 2)))
    made = Recipe(
        merge_method="passthrough", slices=tuple(Slice(sources=(source,)) for source in runs)
    )
    result = merged(paths, made)
    for written, (model, read) in enumerate((("a", 1), ("b", 0), ("b", 1))):
        for expert in range(4):
            tensor = f"block_sparse_moe.experts.{expert}.w2.weight"
            origin = weights[model][f"model.layers.{read}.{tensor}"]
            assert torch.equal(result[f"model.layers.{written}.{tensor}"], origin)


def test_experts_and_their_router_are_mlp(tmp_path):
    """A router chooses among experts that it was trained with: it is merged as they are."""
    for shapes in (mixtral(1, 2), qwen_moe(1, 2)):
        inside = {name: kind_of(name) for name in shapes if "moe" in name or ".mlp." in name}
        assert set(inside.values()) == {"mlp"}
        assert any(name.endswith("gate.weight") for name in inside)
        assert kind_of("model.layers.0.self_attn.q_proj.weight") == "attention"
    paths, weights = make(tmp_path, mixtral(1, 2))
    router = "model.layers.0.block_sparse_moe.gate.weight"
    rules = (Rule(filter="moe.gate", value=0.0), Rule(value=1.0))
    own = Source(model="a", parameters={"weight": rules})
    made = Recipe(merge_method="task_arithmetic", base_model="base", models=(own,))
    result = merged(paths, made)
    assert torch.equal(result[router], weights["base"][router])
    expert = "model.layers.0.block_sparse_moe.experts.1.w1.weight"
    assert torch.equal(result[expert], weights["a"][expert])


def test_layers_and_kinds_are_found_in_names_of_many_families():
    wanted = {
        "h.0.attn.c_attn.weight": (0, "attention"),
        "transformer.h.11.mlp.c_fc.bias": (11, "mlp"),
        "h.3.ln_1.weight": (3, "norm"),
        "wpe.weight": (None, "embedding"),
        "ln_f.weight": (None, "norm"),
        "gpt_neox.layers.5.attention.query_key_value.weight": (5, "attention"),
        "embed_out.weight": (None, "head"),
        "bert.encoder.layer.2.attention.self.query.weight": (2, "attention"),
        "transformer.blocks.4.ffn.experts.mlp.w1": (4, "mlp"),
        "transformer.word_embeddings_layernorm.weight": (None, "norm"),
        "encoder.block.1.layer.0.SelfAttention.q.weight": (1, "attention"),
        "backbone.layers.9.mixer.in_proj.weight": (9, "mlp"),
        "model.layers.0.mlp.router.weight": (0, "mlp"),
    }
    assert {name: (layer_of(name), kind_of(name)) for name in wanted} == wanted


def test_gpt2s_positions_are_no_vocabulary(tmp_path):
    """Even with as many positions as tokens."""
    shapes = {**gpt2(), "wpe.weight": (20, 8)}
    paths, _ = make(tmp_path, shapes, tie_word_embeddings=True, vocab_size=20)
    assert read_index(paths["base"]).vocabulary_tensors == ("wte.weight",)


COUNTS = ("num_hidden_layers", "n_layer", "num_layers")


@pytest.mark.parametrize("key", COUNTS)
def test_missing_layers_are_refused(tmp_path, key):
    paths, _ = make(tmp_path, gpt2(2), **{key: 3})
    with pytest.raises(CheckpointError, match=r"2 layers of weights.*counts 3") as caught:
        merged(paths, recipe("linear", {"a": {"weight": 1.0}}))
    assert "config.json" in caught.value.remedy


def test_more_layers_than_the_config_counts_are_merged_and_said_once_a_model(tmp_path):
    """Such as the layers that some models predict several tokens ahead with."""
    paths, _ = make(tmp_path, gpt2(3), n_layer=2)
    said = []
    result = merged(paths, recipe("linear", {"a": {"weight": 1.0}}), said.append)
    assert "h.2.mlp.c_fc.weight" in result
    assert len(said) == 2
    assert all("3 layers" in text and "counts 2" in text for text in said)


def test_names_without_layers_are_said_aloud(tmp_path):
    paths, _ = make(tmp_path, {"stack.0.w": (4, 4)}, num_hidden_layers=1)
    said = []
    merged(
        {"base": paths["base"], "a": paths["a"]},
        recipe("linear", {"a": {"weight": 1}}),
        said.append,
    )
    assert any("no layers" in text for text in said)


def test_counts_of_nested_configs_are_read(tmp_path):
    """A vision tower may have more layers than the text that config.json counts first."""
    shapes = {f"visual.blocks.{n}.w": (4, 4) for n in range(3)} | gpt2(2)
    text = {"num_hidden_layers": 2}
    paths, _ = make(tmp_path, shapes, text_config=text, vision_config={"num_hidden_layers": 3})
    said = []
    merged(paths, recipe("linear", {"a": {"weight": 1.0}}), said.append)
    assert not said


def test_settings_for_one_layer_reach_all_of_its_experts(tmp_path):
    paths, weights = make(tmp_path, mixtral(layers=2, experts=2))
    own = Source(model="a", parameters={"weight": constant((0.0, 1.0))})
    made = Recipe(merge_method="task_arithmetic", base_model="base", models=(own,))
    result = merged(paths, made)
    for layer, model in ((0, "base"), (1, "a")):
        for expert in range(2):
            name = f"model.layers.{layer}.block_sparse_moe.experts.{expert}.w1.weight"
            assert torch.equal(result[name], weights[model][name])
