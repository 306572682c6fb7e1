"""From the name of a model to what is in it, with or without an adapter; torch-free."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from evomerge.errors import CheckpointError
from evomerge.hub import split_model
from evomerge.layout import CheckpointIndex, read_index
from evomerge.merging.adapter import adapted_index, read_adapter

_LAYER_COUNTS = ("num_hidden_layers", "n_layer", "n_layers", "num_layers", "num_decoder_layers")
Folders = Mapping[str, Path]
"""For each model that recipes name, or for each half of a `model+adapter`, its folder."""


def folders_of(name: str, folders: Folders) -> tuple[Path, ...]:
    """The folder of a model, and that of its adapter if it has one.

    Raises CheckpointError where `folders` does not know it.
    """
    parts = split_model(name, folders.__contains__)
    unknown = [part for part in parts if part not in folders]
    if unknown:
        raise CheckpointError(
            f"model {unknown[0]!r} was not opened for this merge",
            remedy=f"opened: {', '.join(folders)}",
        )
    return tuple(folders[part] for part in parts)


def tokenizer_folder(name: str, folders: Folders) -> Path:
    """Where a model's tokenizer lies: with its adapter, if that brings one."""
    found = folders_of(name, folders)
    return found[-1] if (found[-1] / "tokenizer.json").is_file() else found[0]


def check_layers(index: CheckpointIndex) -> str | None:
    """What is odd about the layers in the tensors' names, beside those that the config counts.

    Raises CheckpointError where layers are missing: the model would be merged in part.
    """
    found = index.num_layers
    text = _counts(index.config) or _counts(index.config.get("text_config"))
    everywhere = [count for part in index.config.values() for count in _counts(part)]
    counted, most = max(text, default=0), max([*text, *everywhere], default=0)
    if found == 0 and counted:
        return f"its tensors' names show no layers: config.json counts {counted}"
    if found < counted:
        raise CheckpointError(
            f"{found} layers of weights, where config.json counts {counted}",
            where=index.name,
            remedy="download the model again, or correct the number in its config.json",
        )
    if most and found > most:
        return f"{found} layers of weights, where config.json counts {most}: all are merged"
    return None


def check_plain(index: CheckpointIndex) -> None:
    """Raise CheckpointError for a quantised model: its numbers are not its weights."""
    method = index.config.get("quantization_config")
    if method is not None:
        kind = method.get("quant_method", "quantised") if isinstance(method, dict) else "quantised"
        raise CheckpointError(
            f"its weights are quantised ({kind})",
            where=index.name,
            remedy="use the unquantised weights (float32, float16 or bfloat16) of the model",
        )


def _counts(config: Any) -> list[int]:
    """The numbers of layers that a config, or a part of one, gives."""
    keys = _LAYER_COUNTS if isinstance(config, dict) else ()
    return [config[key] for key in keys if isinstance(config.get(key), int)]


def read_model(name: str, folders: Folders) -> CheckpointIndex:
    """Config and headers of a model. Raises CheckpointError where a part is broken or does not fit."""
    base, *adapters = folders_of(name, folders)
    index = read_index(base)
    check_plain(index)
    check_layers(index)
    for adapter in adapters:
        index = adapted_index(index, read_adapter(adapter))
    return index
