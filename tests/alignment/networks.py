"""Small transformers of several families with random weights, and random orders of their units."""

import numpy as np
import torch
import transformers as hf

from evomerge.alignment.groups import all_groups
from evomerge.alignment.permute import Permuter
from evomerge.alignment.transformers import transformer_groups

SIZES = {
    "hidden_size": 16,
    "intermediate_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "vocab_size": 30,
}
MIXTURE = {"num_key_value_heads": 2, "num_experts_per_tok": 2}
FAMILIES = {
    "llama": (hf.LlamaConfig, hf.LlamaForCausalLM, {**SIZES, "num_key_value_heads": 2}),
    "tied": (hf.LlamaConfig, hf.LlamaForCausalLM, {**SIZES, "tie_word_embeddings": True}),
    "qwen2": (hf.Qwen2Config, hf.Qwen2ForCausalLM, {**SIZES, "num_key_value_heads": 2}),
    "qwen3": (
        hf.Qwen3Config,
        hf.Qwen3ForCausalLM,
        {**SIZES, "num_key_value_heads": 2, "head_dim": 8},
    ),
    "gemma2": (
        hf.Gemma2Config,
        hf.Gemma2ForCausalLM,
        {**SIZES, "num_key_value_heads": 2, "head_dim": 8},
    ),
    "olmo2": (hf.Olmo2Config, hf.Olmo2ForCausalLM, {**SIZES, "pad_token_id": 0}),
    "gpt2": (
        hf.GPT2Config,
        hf.GPT2LMHeadModel,
        {"n_embd": 16, "n_layer": 2, "n_head": 4, "vocab_size": 30, "n_positions": 16},
    ),
    "bert": (hf.BertConfig, hf.BertForSequenceClassification, {**SIZES, "num_labels": 3}),
    "vit": (
        hf.ViTConfig,
        hf.ViTForImageClassification,
        {**SIZES, "image_size": 8, "patch_size": 4, "num_labels": 3},
    ),
    "mixtral": (
        hf.MixtralConfig,
        hf.MixtralForCausalLM,
        {**SIZES, **MIXTURE, "num_local_experts": 4},
    ),
    "qwen_moe": (
        hf.Qwen2MoeConfig,
        hf.Qwen2MoeForCausalLM,
        {
            **SIZES,
            **MIXTURE,
            "num_experts": 4,
            "moe_intermediate_size": 12,
            "shared_expert_intermediate_size": 24,
        },
    ),
}


def make(family, folder, seed=0, **changes):
    """A saved model of a family whose every parameter is random; its folder."""
    config_class, model_class, sizes = FAMILIES[family]
    torch.manual_seed(seed)
    model = model_class(config_class(**{**sizes, **changes}))
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)
    model.save_pretrained(folder)
    return folder


def load(family, folder):
    """The model in a folder, in evaluation mode, with eager attention."""
    return FAMILIES[family][1].from_pretrained(folder, dtype=torch.float32).eval()


@torch.no_grad()
def answers(model, seed=0):
    """Logits for random inputs."""
    generator = torch.Generator().manual_seed(seed)
    if "ViT" in type(model).__name__:
        return model(torch.randn(3, 3, 8, 8, generator=generator)).logits
    return model(torch.randint(0, 30, (3, 9), generator=generator)).logits


def groups_of(config, tensors):
    """The groups of a checkpoint."""
    return transformer_groups(config, {name: tuple(x.shape) for name, x in tensors.items()})


def random_orders(groups, seed):
    """An order for every group that may have one."""
    generator = np.random.default_rng(seed)
    return {
        group.name: generator.permutation(group.size)
        for group in all_groups(groups)
        if not group.fixed
    }


def shuffled(tensors, groups, orders):
    """The tensors of a network in these orders."""
    permuter = Permuter(groups)
    return {
        name: permuter.apply(name, tensor, orders).contiguous() for name, tensor in tensors.items()
    }
