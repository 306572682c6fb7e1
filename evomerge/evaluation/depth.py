"""Engines for stacks of layers: built once for the most layers a search allows.

A candidate with fewer layers runs in the same engine: the rest are layers of zeros, which add nothing
to what passes through them, exactly and in every dtype. They cost their share of a forward pass. A
recipe never speaks of them, so neither does an exported model.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evomerge.errors import EngineError, MergeError
from evomerge.layout import layer_of, read_index
from evomerge.merging.plan import with_layer
from evomerge.spec import SearchSpec

Shapes = Mapping[str, tuple[int, ...]]
_KEYS = ("num_hidden_layers", "n_layer", "num_layers", "n_layers")


def engine_layers(spec: SearchSpec, base: str) -> int | None:
    """How many layers the search's engine has, the base model in folder `base`; None for its own."""
    layers = spec.space_spec.layers
    return None if layers is None else layers.depth(read_index(Path(base)).num_layers)


def depth_arguments(model: str, layers: int, trust_remote_code: bool = False) -> dict[str, Any]:
    """What vLLM is told to build `model` with that many layers.

    Weights are left random: the file has none for some layers, and the first merge writes them all.
    """
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(model, trust_remote_code=trust_remote_code)
    overrides: dict[str, Any] = {key: layers for key in _KEYS if hasattr(config, key)}
    types = getattr(config, "layer_types", None) or []
    if not overrides or len(set(types)) > 1:
        raise EngineError(
            "no engine can be built for more layers of this model: "
            + ("its layers differ in kind" if overrides else "its config does not count them"),
            where=model,
            remedy="search a merge of the models instead, such as `space: ties_per_layer`",
        )
    if types:
        overrides["layer_types"] = [types[0]] * layers
    return {"hf_overrides": overrides, "load_format": "dummy"}


def empty_layers(shapes: Shapes, layers: int, *, exact: bool) -> Shapes:
    """Names and shapes of the layers that a model of `shapes` lacks to have `layers`.

    Raises MergeError where it has more, or, if `exact`, another number.
    """
    have = 1 + max((layer for name in shapes if (layer := layer_of(name)) is not None), default=-1)
    if have > layers or (exact and have != layers):
        raise MergeError(
            f"the recipe has {have} layers, the engine {layers}",
            remedy="search with `space: {method: passthrough, layers: …}`, whose engine has room, "
            "or merge it offline",
        )
    first = {name: shape for name, shape in shapes.items() if layer_of(name) == 0}
    return {
        with_layer(name, layer): shape
        for layer in range(have, layers)
        for name, shape in first.items()
    }


def zeros(shapes: Shapes, like: Tensor) -> Iterator[tuple[str, Tensor]]:
    """A tensor of zeros for each shape."""
    for name, shape in shapes.items():
        yield name, torch.zeros(shape, dtype=like.dtype, device=like.device)
