"""The models of a search as local folders, and the recipes that mean one of them unchanged."""

from evomerge.hub import model_folders as _model_folders
from evomerge.recipe import Recipe, Source, constant
from evomerge.spec import SearchSpec


def model_folders(spec: SearchSpec) -> dict[str, str]:
    """For each model of the search its folder, base first; for `model+adapter` one for each half.

    Raises CheckpointError where a model is neither a folder nor on the hub.
    """
    found = _model_folders((spec.base_model, *spec.models))
    return {name: str(folder) for name, folder in found.items()}


def base_only(model: str) -> Recipe:
    """The recipe whose merge is `model`, unchanged."""
    source = Source(model=model, parameters={"weight": constant(1.0)})
    return Recipe(merge_method="linear", base_model=model, models=(source,))
