"""Writes a base and three fine-tunes of a few kilobytes, and the search file beside them.

    python examples/models.py FOLDER

They have Llama's names and shapes and random weights: good for looking at how evomerge is used, and for
nothing else. `evomerge demo` trains models that can do something.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

LAYERS, WIDTH, WORDS = 4, 8, 16
MODELS = ("base", "support", "code", "german")


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors."""
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (WORDS, WIDTH)}
    for layer in range(LAYERS):
        before = f"model.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "o_proj"):
            found[f"{before}.self_attn.{part}.weight"] = (WIDTH, WIDTH)
        for part in ("gate_proj", "up_proj", "down_proj"):
            found[f"{before}.mlp.{part}.weight"] = (WIDTH, WIDTH)
        found[f"{before}.input_layernorm.weight"] = (WIDTH,)
    return {**found, "model.norm.weight": (WIDTH,), "lm_head.weight": (WORDS, WIDTH)}


def write_model(folder: Path, weights: dict[str, np.ndarray]) -> None:
    """A model folder: weights, configuration, tokenizer."""
    folder.mkdir(parents=True, exist_ok=True)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "num_hidden_layers": LAYERS,
        "hidden_size": WIDTH,
        "intermediate_size": WIDTH,
        "num_attention_heads": 2,
        "vocab_size": WORDS,
        "max_position_embeddings": 64,
    }
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    vocabulary = {f"word{number}": number for number in range(WORDS)}
    tokenizer = {"model": {"type": "WordLevel", "vocab": vocabulary}}
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer), encoding="utf-8")


def main(folder: Path) -> None:
    """All models, each a small step from the base, and search.yml."""
    rng = np.random.default_rng(0)
    base = {name: rng.normal(0, 0.02, shape).astype(np.float32) for name, shape in shapes().items()}
    for name in MODELS:
        step = 0.0 if name == "base" else 0.005
        weights = {
            key: x + np.float32(step) * rng.standard_normal(x.shape, np.float32)
            for key, x in base.items()
        }
        write_model(folder / name, weights)
    shutil.copy(Path(__file__).parent / "search.yml", folder / "search.yml")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("usage: python examples/models.py FOLDER")
    main(Path(sys.argv[1]))
