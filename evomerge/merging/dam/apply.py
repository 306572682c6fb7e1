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
from evomerge.recipe import Recipe, Source, constant


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
    """A merge by the mean coefficient of each model's matrices, for a search to start from.

    Deltas against the base where there is one, else whole models that are not normalised. Means have three
    digits, as the weights of spaces have.
    """
    sources = tuple(
        Source(model=source.model, parameters={"weight": constant(_mean(learned, number))})
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


def _mean(learned: Learned, model: int) -> float:
    """Over the matrices inside the layers; all coefficients where there is none."""
    inside = [x for n, x in learned.values.items() if layer_of(n) is not None and x.dim() == 3]
    means = [float(x[model].mean()) for x in inside or learned.values.values()]
    return round(sum(means) / len(means), 3)
