"""The models of a search as local folders, and the recipes that mean one of them unchanged."""

from pathlib import Path

from evomerge.errors import CheckpointError
from evomerge.recipe import Recipe, Source, constant
from evomerge.spec import SearchSpec


def model_folders(spec: SearchSpec) -> dict[str, str]:
    """For each model of the search its folder; hub ids are looked up in the local cache first.

    Raises CheckpointError where a model is neither a folder nor on the hub.
    """
    return {name: str(model_folder(name)) for name in (spec.base_model, *spec.models)}


def model_folder(name: str) -> Path:
    """The folder of a path or of a hub id, `org/model` or `org/model@revision`."""
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    from huggingface_hub import snapshot_download

    repository, _, revision = name.partition("@")
    kept = ["*.safetensors", "*.json", "*.model", "*.txt", "*.jinja"]
    try:
        return Path(snapshot_download(repository, revision=revision or None, allow_patterns=kept))
    except Exception as error:  # the hub raises a dozen kinds
        raise CheckpointError(
            f"neither a folder nor a model that can be downloaded ({type(error).__name__})",
            where=name,
            remedy="check the path or the hub id (org/model, or org/model@revision)",
        ) from error


def base_only(model: str) -> Recipe:
    """The recipe whose merge is `model`, unchanged."""
    source = Source(model=model, parameters={"weight": constant(1.0)})
    return Recipe(merge_method="linear", base_model=model, models=(source,))
