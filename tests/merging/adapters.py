"""Adapters for the tests of merging, written by hand in PEFT's format."""

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

PREFIX = "base_model.model."


def factors(
    shape: tuple[int, int],
    rank: int,
    seed: int,
    step: float = 0.05,
    dtype: torch.dtype = torch.float32,
) -> tuple[Tensor, Tensor]:
    """A and B of a weight of that shape: B A is about as large as `step`² times the rank."""
    generator = torch.Generator().manual_seed(seed)
    a = torch.randn(rank, shape[1], generator=generator) * step
    b = torch.randn(shape[0], rank, generator=generator) * step
    return a.to(dtype), b.to(dtype)


def linear(module: str, a: Tensor, b: Tensor) -> dict[str, Tensor]:
    """The entries of one adapted Linear."""
    return {
        f"{PREFIX}{module}.lora_A.weight": a,
        f"{PREFIX}{module}.lora_B.weight": b,
    }


def save_adapter(folder: Path, tensors: dict[str, Tensor], **config: Any) -> Path:
    """Write an adapter folder; `r` and `lora_alpha` are 4 and 8 unless told otherwise."""
    folder.mkdir(parents=True)
    save_file({n: x.contiguous() for n, x in tensors.items()}, folder / "adapter_model.safetensors")
    settings = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
    (folder / "adapter_config.json").write_text(json.dumps({**settings, **config}))
    return folder
