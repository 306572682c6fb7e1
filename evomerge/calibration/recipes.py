"""From the `calibration` of a recipe to its set, and from its method to the statistics it needs."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from evomerge.calibration.sets import PREFIX, CalibrationSet, Example, load_set, make_set
from evomerge.calibration.statistic import get_statistic
from evomerge.calibration.store import Request
from evomerge.calibration.texts import read_texts
from evomerge.errors import RecipeError
from evomerge.recipe import Calibration, Recipe


def set_of(calibration: Calibration, home: Path | None = None) -> CalibrationSet:
    """The texts that a recipe names; paths may be relative to `home` too.

    Raises SpecError where a file cannot be used, NotFoundError where a set is not kept here.
    """
    if calibration.data is not None and calibration.data.startswith(PREFIX):
        return load_set(calibration.data)
    read = read_texts(_find(calibration.data, home)) if calibration.data is not None else ()
    own = {model: list(read_texts(_find(file, home))) for model, file in calibration.own.items()}
    for one in read:
        if one.model is not None:
            own.setdefault(one.model, []).append(replace(one, model=None))
    shared: list[Example] = [one for one in read if one.model is None]
    return make_set(shared, own, examples=calibration.examples, max_length=calibration.max_length)


def pinned(recipe: Recipe, home: Path | None = None) -> Recipe:
    """The recipe with its texts named by their content, and kept on this machine."""
    calibration = recipe.calibration
    if calibration is None or (calibration.data or "").startswith(PREFIX):
        return recipe
    name = set_of(calibration, home).save()
    return recipe.model_copy(update={"calibration": Calibration(data=name)})


def requests_for(
    statistics: tuple[str, ...], texts: CalibrationSet, prints: Mapping[str, str]
) -> Iterator[Request]:
    """What has to be measured for a merge of the models of `prints` (name to fingerprint)."""
    for name in statistics:
        for model, fingerprint in prints.items():
            owners = tuple(prints) if get_statistic(name).crosswise else (model,)
            for owner in owners:
                yield Request(name, model, fingerprint, texts.digest_of(owner), owner)


def needs_texts(method: str) -> RecipeError:
    """The error for a recipe without calibration whose method needs it."""
    return RecipeError(
        f"{method} is computed from statistics of its models, and no calibration texts are named",
        where="calibration",
        remedy="add `calibration: texts.jsonl`, then run `evomerge calibrate` on the file",
    )


def kept_set_of(recipe: Recipe) -> CalibrationSet:
    """The set of a recipe that is merged: named by content, whatever lies in the working folder.

    Raises RecipeError for a recipe without texts, or with texts that are not pinned.
    """
    calibration = recipe.calibration
    if calibration is None:
        raise needs_texts(recipe.merge_method)
    if calibration.data is None or not calibration.data.startswith(PREFIX):
        raise RecipeError(
            "the calibration texts are not named by their content",
            where=f"recipe {recipe.recipe_id}: calibration",
            remedy="name the recipe's file in the search file, or write calibration: set:ID",
        )
    return load_set(calibration.data)


def _find(name: str, home: Path | None) -> Path:
    path = Path(name).expanduser()
    beside = (home or Path()) / path
    return path if path.is_file() or not beside.is_file() else beside
