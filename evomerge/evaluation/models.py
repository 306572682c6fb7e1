"""The models of a search as local folders, and the recipes that mean one of them unchanged."""

from evomerge.merging.checkpoint import resolve_model
from evomerge.recipe import Recipe, Source, constant
from evomerge.spec import SearchSpec


def model_folders(spec: SearchSpec) -> dict[str, str]:
    """For each model of the search its folder, base first.

    Raises CheckpointError where a model is neither a folder nor on the hub.
    """
    return {name: str(resolve_model(name)) for name in (spec.base_model, *spec.models)}


def base_only(model: str) -> Recipe:
    """The recipe whose merge is `model`, unchanged."""
    source = Source(model=model, parameters={"weight": constant(1.0)})
    return Recipe(merge_method="linear", base_model=model, models=(source,))
