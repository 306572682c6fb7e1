"""From the name of a model to what is in it, with or without an adapter; torch-free."""

from collections.abc import Mapping
from pathlib import Path

from evomerge.errors import CheckpointError
from evomerge.hub import split_model
from evomerge.layout import CheckpointIndex, read_index
from evomerge.merging.adapter import adapted_index, read_adapter

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


def read_model(name: str, folders: Folders) -> CheckpointIndex:
    """Config and headers of a model. Raises CheckpointError where a part is broken or does not fit."""
    base, *adapters = folders_of(name, folders)
    index = read_index(base)
    for adapter in adapters:
        index = adapted_index(index, read_adapter(adapter))
    return index
