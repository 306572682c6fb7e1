"""From a configuration to learned coefficients in a folder: what `evomerge dam CONFIG FOLDER` does."""

from collections.abc import Callable
from pathlib import Path

from evomerge.calibration.loading import load_model
from evomerge.calibration.recipes import needs_texts, set_of
from evomerge.errors import RecipeError, ResourceError
from evomerge.hub import model_folders
from evomerge.layout import read_index
from evomerge.merging.calibrated import Calibrated
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.dam.apply import start_of
from evomerge.merging.dam.coefficients import Learned
from evomerge.merging.dam.learning import Learner, Report
from evomerge.merging.indexes import Folders, folders_of, tokenizer_folder
from evomerge.merging.mergekit_yaml import dump_recipe, load_recipe
from evomerge.merging.opening import OpenModels
from evomerge.merging.rebuilt import Request
from evomerge.merging.statistics import StatisticsCache
from evomerge.merging.validate import validate
from evomerge.methods import get_method
from evomerge.recipe import Recipe
from evomerge.spec import resolve_model

COEFFICIENTS, MERGE, START = "coefficients.safetensors", "merge.yml", "start.yml"


def learn(
    config: Path,
    out: Path,
    *,
    device: str = "cpu",
    save_every: int = 50,
    report: Report = lambda step, steps, loss: None,
    notify: Callable[[str], None] = lambda text: None,
) -> Learned:
    """Learn what a configuration of dam says, or go on with it where a run was killed in `out`.

    Writes the coefficients, `merge.yml` that merges by them, and `start.yml` that a search starts from.
    Raises EvomergeError only.
    """
    recipe = load_recipe(config)
    if not get_method(recipe.merge_method).learned:
        raise RecipeError(
            f"{recipe.merge_method} learns nothing", where=str(config), remedy="merge_method: dam"
        )
    validate(recipe)
    if recipe.calibration is None:
        raise needs_texts(recipe.merge_method)
    if (out / COEFFICIENTS).exists():
        raise ResourceError(
            "holds learned coefficients already",
            where=str(out),
            remedy=f"merge them with `evomerge merge {out / MERGE} MODEL`, or choose another folder",
        )
    out.mkdir(parents=True, exist_ok=True)
    learned = _learner(recipe, config.parent, out, device, save_every, notify).run(report)
    _write(recipe, config.parent.resolve(), out, learned)
    return learned


def _learner(
    recipe: Recipe, home: Path, out: Path, device: str, every: int, notify: Callable[[str], None]
) -> Learner:
    assert recipe.calibration is not None
    folders: Folders = model_folders(recipe.all_models(), home)
    opened = OpenModels(folders, notify)
    models = {name: opened[name] for name in recipe.all_models()}
    request = Request(
        recipe,
        get_method(recipe.merge_method),
        models,
        StatisticsCache(on_disk=False),
        _no_statistics,
        notify,
    )
    first = request.names[0]
    folder = folders_of(first, folders)[0]
    plain = Checkpoint(read_index(folder))
    named = (plain.index.config.get("architectures") or [None])[0]
    loaded = load_model(
        folder,
        tokenizer_folder(first, folders),
        plain.tensors(),
        architecture=named,
        device=device,
    )
    return Learner(request, loaded, set_of(recipe.calibration, home), out, every)


def _no_statistics() -> Calibrated:
    raise AssertionError("dam measures nothing")


def _write(recipe: Recipe, home: Path, out: Path, learned: Learned) -> None:
    """The recipes first: coefficients say that all is done."""
    moved = _resolved(recipe, home)
    merge = moved.model_copy(update={"coefficients": COEFFICIENTS, "calibration": None})
    (out / MERGE).write_text(dump_recipe(merge), encoding="utf-8")
    (out / START).write_text(dump_recipe(start_of(moved, learned)), encoding="utf-8")
    learned.save(out / COEFFICIENTS)


def _resolved(recipe: Recipe, home: Path) -> Recipe:
    """The recipe with paths of models that hold everywhere."""
    sources = tuple(
        source.model_copy(update={"model": resolve_model(source.model, home)})
        for source in recipe.models or ()
    )
    base = None if recipe.base_model is None else resolve_model(recipe.base_model, home)
    return recipe.model_copy(update={"models": sources, "base_model": base})
