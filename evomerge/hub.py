"""From a model's name to local folders: paths as they are, hub ids through huggingface_hub's cache.

A name is a path or `org/name[@revision]`; an adapter follows its model after a plus: `model+adapter`.
A folder whose own name has a plus in it is that folder.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path, PurePosixPath, PureWindowsPath

from evomerge.errors import CheckpointError

_used_folders: dict[str, Path] = {}
_HUB_ID = re.compile(r"^[\w-][\w.-]*(/[\w.-]+)?(@[\w./-]+)?$")
_PATTERNS = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


def short_name(model: str) -> str:
    """The last part of a name, whichever system a path was written on: `base` of `/models/base`,
    `C:\\models\\base` and `org/base`."""
    return PureWindowsPath(model).name or model


def is_path(model: str) -> bool:
    """Whether a name is surely a path and no hub id, on whichever system it was written."""
    absolute = PurePosixPath(model).is_absolute() or PureWindowsPath(model).is_absolute()
    return absolute or model.startswith((".", "~")) or "\\" in model


def local_folder(model: str, relative_to: Path | None = None) -> Path:
    """The folder of one model or one adapter. Only safetensors, configs and tokenizers are fetched.

    Args:
        relative_to: a folder that relative paths may also start from, as a configuration's own.

    Raises CheckpointError where it is neither a folder nor on the hub.
    """
    if (folder := _here(model, relative_to)) is not None:
        return folder
    if not _HUB_ID.match(model):
        raise CheckpointError(
            "no such model folder",
            where=model,
            remedy="check the path in base_model and models",
        )
    name, _, revision = model.partition("@")
    try:
        from huggingface_hub import snapshot_download

        return Path(snapshot_download(name, revision=revision or None, allow_patterns=_PATTERNS))
    except Exception as error:
        # huggingface_hub raises requests', httpx' and its own errors; each means: not to be had.
        reason = str(error).strip().split("\n")[0]
        raise CheckpointError(
            f"no such model folder, and the hub gives: {reason}",
            where=model,
            remedy="check the path, or the name and revision on the hub",
        ) from error


def use_folders(folders: Mapping[str, Path]) -> None:
    """From now on this process finds these models, or parts of models, in these folders: a worker does
    so after it has brought them to its own node."""
    _used_folders.update(folders)


def model_folders(models: Iterable[str], relative_to: Path | None = None) -> dict[str, Path]:
    """The folder of every part of every model, each once, in order. Raises CheckpointError."""
    parts = dict.fromkeys(part for model in models for part in parts_of(model, relative_to))
    return {part: local_folder(part, relative_to) for part in parts}


def parts_of(model: str, relative_to: Path | None = None) -> tuple[str, ...]:
    """The checkpoint and the adapter that a name is made of, or the name alone."""
    return split_model(model, lambda part: _here(part, relative_to) is not None)


def split_model(model: str, is_known: Callable[[str], bool]) -> tuple[str, ...]:
    """The same where `is_known` says which names there are."""
    if is_known(model) or "+" not in model:
        return (model,)
    places = [place for place, letter in enumerate(model) if letter == "+"]
    splits = [(model[:place], model[place + 1 :]) for place in places]
    # The one of whose halves most are known; the first of several.
    return max(splits, key=lambda halves: sum(is_known(half) for half in halves if half))


def pin(model: str) -> str:
    """A name whose hub ids carry the commit they stand for now: a search's history stays true.

    What cannot be had stays as it is: preflight reports it together with everything else.
    """
    return "+".join(_pin(part) for part in parts_of(model))


def _pin(part: str) -> str:
    if _here(part, None) is not None or not _HUB_ID.match(part):
        return part
    try:
        return f"{part.partition('@')[0]}@{local_folder(part).name}"
    except CheckpointError:
        return part


def _here(model: str, relative_to: Path | None) -> Path | None:
    """The folder of a path, where there is one."""
    if model in _used_folders:
        return _used_folders[model]
    path = Path(model).expanduser()
    for folder in (path, (relative_to or Path()) / path):
        if folder.is_dir():
            return folder
    return None
