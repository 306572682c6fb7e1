"""From a model's name to a local folder: paths as they are, hub ids through huggingface_hub's cache."""

import re
from pathlib import Path

from evomerge.errors import CheckpointError

_HUB_ID = re.compile(r"^[\w.-]+/[\w.-]+(@[\w./-]+)?$")
_PATTERNS = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]


def local_folder(model: str) -> Path:
    """The folder of a model. Raises CheckpointError where it is neither a folder nor on the hub.

    Only safetensors, configs and tokenizers are fetched; pickles never are.
    """
    path = Path(model).expanduser()
    if path.is_dir() or not _HUB_ID.match(model) or path.is_absolute():
        return path
    name, _, revision = model.partition("@")
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(name, revision=revision or None, allow_patterns=_PATTERNS))
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise CheckpointError(
            f"no such folder, and the hub does not have it or cannot be reached "
            f"({type(error).__name__})",
            where=model,
            remedy="check the name, or download the model and give its path",
        ) from error


def pin(model: str) -> str:
    """A hub id with the commit it stands for now, so that a search's history stays true."""
    if Path(model).expanduser().is_dir() or not _HUB_ID.match(model):
        return model
    folder = local_folder(model)
    return f"{model.partition('@')[0]}@{folder.name}"
