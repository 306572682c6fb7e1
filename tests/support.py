"""What many tests need: tiny checkpoints without torch, search specs for the fake engine, histories."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from evomerge.spec import SearchSpec
from evomerge.store.api import Store

LAYERS, WIDTH, VOCABULARY = 4, 8, 16


def write_checkpoint(folder: Path, seed: int, **changes: Any) -> Path:
    """A Llama-shaped checkpoint of a few kilobytes; `changes` replace tensors (None removes one)."""
    rng = np.random.default_rng(seed)
    tensors: dict[str, np.ndarray] = {}
    for name, shape in _shapes().items():
        tensors[name] = rng.normal(0, 0.02, shape).astype(np.float32)
    for name, value in changes.items():
        if value is None:
            del tensors[name]
        else:
            tensors[name] = value
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    (folder / "config.json").write_text(json.dumps(_config()), encoding="utf-8")
    (folder / "tokenizer.json").write_text(json.dumps(_tokenizer()), encoding="utf-8")
    return folder


def _shapes() -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {
        "model.embed_tokens.weight": (VOCABULARY, WIDTH),
        "model.norm.weight": (WIDTH,),
        "lm_head.weight": (VOCABULARY, WIDTH),
    }
    for layer in range(LAYERS):
        prefix = f"model.layers.{layer}."
        for part in ("q_proj", "k_proj", "v_proj", "o_proj"):
            shapes[f"{prefix}self_attn.{part}.weight"] = (WIDTH, WIDTH)
        for part in ("gate_proj", "up_proj", "down_proj"):
            shapes[f"{prefix}mlp.{part}.weight"] = (WIDTH, WIDTH)
        shapes[f"{prefix}input_layernorm.weight"] = (WIDTH,)
    return shapes


def _config() -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_hidden_layers": LAYERS,
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_attention_heads": 2,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": 64,
    }


def _tokenizer() -> dict[str, Any]:
    return {"model": {"type": "WordLevel", "vocab": {f"t{n}": n for n in range(VOCABULARY)}}}


def fake_spec(folder: Path, **changes: Any) -> SearchSpec:
    """A search with the fake engine over three experts, small enough for a second."""
    models = [str(write_checkpoint(folder / name, seed)) for seed, name in enumerate("bxyz")]
    content: dict[str, Any] = {
        "name": "fake",
        "base_model": models[0],
        "models": models[1:],
        "space": {
            "method": "task_arithmetic",
            "weight": {"range": [0, 1.5], "per": ["model", "layer_group"]},
            "layer_groups": 2,
        },
        "objective": {"tasks": [{"task": "alpha"}, {"task": "beta"}]},
        "strategy": {
            "name": "cma",
            "sigma0": 0.25,
            "population_size": 6,
            "seed": 7,
            "asynchronous": False,
        },
        "budget": {"candidates": 18},
        "engine": {"name": "fake"},
    }
    content.update(changes)
    return SearchSpec.model_validate(content)


def history(store: Store, search_id: str) -> list[tuple[Any, ...]]:
    """Everything about a search that must not depend on who ran it when: for comparisons."""
    evaluations: dict[int, list[Any]] = {}
    for e in store.evaluations(search_id):
        row = (
            e.split.value,
            e.status.value,
            e.fitness,
            e.violation,
            e.scores,
            e.copied_from is None,
        )
        evaluations.setdefault(e.candidate_id, []).append(row)
    return [
        (
            c.number,
            c.origin.value,
            c.label,
            c.generation,
            c.genome,
            c.recipe_id,
            c.told,
            c.loss,
            sorted(evaluations.get(c.id, []), key=str),
        )
        for c in store.candidates(search_id)
    ]
