"""A recipe with learned coefficients as a model, and what a search can start from."""

from pathlib import Path
from typing import Any

from torch import Tensor

from evomerge.errors import CheckpointError, RecipeError
from evomerge.fingerprint import fingerprint
from evomerge.layout import layer_of
from evomerge.merging.dam.coefficients import Learned, combine, load_learned
from evomerge.merging.rebuilt import RebuiltCheckpoint, Request, index_of
from evomerge.merging.reordered import check_alike, read
from evomerge.recipe import Recipe, Rule, Source, constant


def build_dam(request: Request) -> RebuiltCheckpoint:
    """The merged model. RecipeError without coefficients, CheckpointError for other models'."""
    recipe = request.recipe
    if recipe.coefficients is None:
        raise RecipeError(
            "dam merges by learned coefficients, and the recipe names none",
            where="coefficients",
            remedy="learn them: `evomerge dam CONFIG FOLDER`, then merge FOLDER/merge.yml",
        )
    learned = load_learned(Path(recipe.coefficients))
    models = [request.models[name] for name in request.names]
    for model in models[1:]:
        check_alike(models[0], model)
    if tuple(fingerprint(model.index) for model in models) != learned.fingerprints:
        raise CheckpointError(
            f"its coefficients were learned for {', '.join(learned.models)}",
            where=recipe.coefficients,
            remedy="list these models, in this order; or learn again",
        )

    def make(name: str) -> Tensor:
        tensors = [read(model)(name) for model in models]
        known = learned.values.get(name)
        return tensors[0] if known is None else combine(known, tensors)

    index = models[0].index
    shapes = {name: info.shape for name, info in index.tensors.items()}
    mark = f"dam:{recipe.recipe_id}:{learned.about['digest']}"
    return RebuiltCheckpoint(index_of(index, shapes, index.config), make, mark)


def located(recipe: Recipe, home: Path | None) -> Recipe:
    """The recipe with the path of its coefficients from here; it may be relative to `home`."""
    if recipe.coefficients is None:
        return recipe
    path = Path(recipe.coefficients).expanduser()
    beside = (home or Path()) / path
    found = str((path if path.is_file() or not beside.is_file() else beside).resolve())
    return recipe.model_copy(update={"coefficients": found})


def start_of(recipe: Recipe, learned: Learned) -> Recipe:
    """A merge by the mean coefficients of each model in each layer, for a search to start from.

    Deltas against the base where there is one, else whole models that are not normalised.
    """
    layers = sorted({at for name in learned.values if (at := layer_of(name)) is not None})
    sources = tuple(
        Source(model=source.model, parameters={"weight": _weights(learned, number, layers)})
        for number, source in enumerate(recipe.models or ())
        if source.model != recipe.base_model
    )
    changed: dict[str, Any] = {
        "merge_method": "task_arithmetic" if recipe.base_model else "linear",
        "models": sources,
        "parameters": {} if recipe.base_model else {"normalize": constant(False)},
        "calibration": None,
        "coefficients": None,
    }
    return recipe.model_copy(update=changed)


def _weights(learned: Learned, model: int, layers: list[int]) -> tuple[Rule, ...]:
    """A gradient over the layers, each layer's mean over its matrices' coefficients."""
    means = tuple(
        _mean([x[model] for n, x in learned.values.items() if layer_of(n) == at and x.dim() == 3])
        for at in layers
    )
    return (Rule(value=means if len(means) > 1 else means[0]),)


def _mean(values: list[Tensor]) -> float:
    return sum(float(x.mean()) for x in values) / max(len(values), 1)
