"""Tiny checkpoints for the tests of merging."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from evomerge.recipe import Recipe, Source, constant

Weights = dict[str, Tensor]


def llama(layers: int = 2, hidden: int = 8, vocabulary: int = 40) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a very small Llama."""
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for layer in range(layers):
        shapes[f"model.layers.{layer}.self_attn.q_proj.weight"] = (hidden, hidden)
        shapes[f"model.layers.{layer}.mlp.up_proj.weight"] = (3 * hidden, hidden)
        shapes[f"model.layers.{layer}.input_layernorm.weight"] = (hidden,)
    return {**shapes, "model.norm.weight": (hidden,), "lm_head.weight": (vocabulary, hidden)}


def random_weights(
    shapes: dict[str, tuple[int, ...]], seed: int, dtype: torch.dtype = torch.bfloat16
) -> Weights:
    """Normal weights of std 0.1."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: (torch.randn(shape, generator=generator) * 0.1).to(dtype)
        for name, shape in shapes.items()
    }


def tuned(base: Weights, seed: int, step: float = 0.01) -> Weights:
    """A fine-tune: the base plus noise."""
    noise = random_weights({name: tuple(x.shape) for name, x in base.items()}, seed, torch.float32)
    return {name: (x.float() + step * 10 * noise[name]).to(x.dtype) for name, x in base.items()}


def save(folder: Path, weights: Weights, **config: Any) -> Path:
    """Write a checkpoint folder."""
    folder.mkdir(parents=True)
    save_file({name: x.contiguous() for name, x in weights.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "llama", **config}))
    return folder


def recipe(method: str, models: dict[str, dict[str, Any]], **parameters: Any) -> Recipe:
    """A recipe over `base`: parameters of each model, and shared ones."""
    return Recipe(
        merge_method=method,
        base_model="base",
        models=tuple(
            Source(model=model, parameters={k: constant(v) for k, v in own.items()})
            for model, own in models.items()
        ),
        parameters={k.rstrip("_"): constant(v) for k, v in parameters.items()},
    )


def as_float64(tensor: Tensor) -> np.ndarray[Any, np.dtype[np.float64]]:
    """For oracles."""
    return tensor.double().numpy()
