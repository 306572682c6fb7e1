"""Configs of well-known shapes, without weights."""

import json
from pathlib import Path
from typing import Any

LLAMA = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "dtype": "bfloat16"}
SMALL = {
    **LLAMA,
    "hidden_size": 2048,
    "intermediate_size": 8192,
    "num_hidden_layers": 16,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 128256,
    "tie_word_embeddings": True,
    "max_position_embeddings": 131072,
}
MEDIUM = {
    **SMALL,
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "num_hidden_layers": 32,
    "head_dim": 128,
    "tie_word_embeddings": False,
}
LARGE = {
    **MEDIUM,
    "hidden_size": 8192,
    "intermediate_size": 28672,
    "num_hidden_layers": 80,
    "num_attention_heads": 64,
}
MIXTURE = {
    **MEDIUM,
    "architectures": ["MixtralForCausalLM"],
    "vocab_size": 32000,
    "num_local_experts": 8,
    "num_experts_per_tok": 2,
}


def write_config(folder: Path, config: dict[str, Any]) -> str:
    """A folder with a config and nothing else."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps(config))
    return str(folder)


def write_search(folder: Path, config: dict[str, Any], experts: int = 3, **changes: Any) -> Path:
    """A search over models that have configs alone."""
    names = [f"m{n}" for n in range(experts + 1)]
    for name in names:
        write_config(folder / name, config)
    content = {
        "name": "planned",
        "base_model": names[0],
        "models": names[1:],
        "space": "ties_global",
        "objective": {"tasks": [{"task": "mine"}]},
        "workers": {"max": 1, "gpus": 1},
        **changes,
    }
    file = folder / "search.yml"
    file.write_text(json.dumps(content))  # JSON is YAML
    return file
