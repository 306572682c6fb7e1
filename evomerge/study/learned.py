"""Cells of methods that learn: DAM, alone or beginning at what another entry of the study found."""

from pathlib import Path

from evomerge.calibration.recipes import kept_set_of
from evomerge.calibration.sets import CalibrationSet
from evomerge.hub import local_folder
from evomerge.merging.dam.coefficients import Learned, load_learned
from evomerge.merging.dam.run import COEFFICIENTS, MERGE, START, learn
from evomerge.merging.device import choose_device
from evomerge.merging.mergekit_yaml import dump_recipe, load_recipe
from evomerge.merging.offline import merge_to_folder
from evomerge.recipe import Recipe, Source, constant
from evomerge.study.plan import Cell
from evomerge.study.recipes import default_recipe
from evomerge.study.records import Choice, Spent
from evomerge.vocabulary import load_tokenizer

_WINNER, _MODEL, _CONFIG = "begin", "model", "config.yml"


def learned_choice(cell: Cell, texts: str | None, begin: Recipe | None, folder: Path) -> Choice:
    """Learn, or go on with what a killed run left in `folder`.

    Args:
        texts: the calibration set. begin: the recipe that it begins at; None: the average.

    Raises what `evomerge.merging.dam.run.learn` raises.
    """
    recipe = default_recipe(cell, texts)
    if begin is not None:
        recipe = _beginning_at(begin, recipe, folder / _WINNER)
    learned = _learned(recipe, folder)
    merge = load_recipe(folder / MERGE)
    merge = merge.model_copy(update={"coefficients": str((folder / COEFFICIENTS).resolve())})
    spent = _spent(cell, recipe, learned)
    if begin is None:
        return Choice(merge, spent, start=load_recipe(folder / START))
    return Choice(_as_model(merge, cell.base.model, folder / _MODEL), spent, str(folder / _MODEL))


def _learned(recipe: Recipe, folder: Path) -> Learned:
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / COEFFICIENTS).exists():
        return load_learned(folder / COEFFICIENTS)
    config = folder / _CONFIG
    config.write_text(dump_recipe(recipe), encoding="utf-8")
    return learn(config, folder, device=choose_device("auto"))


def _beginning_at(begin: Recipe, recipe: Recipe, folder: Path) -> Recipe:
    """The found merge as a model with all the weight, and the experts, who teach, with none."""
    if not folder.exists():
        merge_to_folder(begin, folder)
    first = {"weight": constant(1.0), "teacher": constant(False)}
    teachers = tuple(
        source.model_copy(update={"parameters": {**source.parameters, "weight": constant(0.0)}})
        for source in recipe.models or ()
    )
    source = Source(model=str(folder.resolve()), parameters=first)
    return recipe.model_copy(update={"base_model": None, "models": (source, *teachers)})


def _as_model(recipe: Recipe, base: str, folder: Path) -> Recipe:
    """The merge written down, and the recipe that is this model: no engine knows what it began at."""
    if not folder.exists():
        merge_to_folder(recipe, folder)
    source = Source(model=str(folder), parameters={"weight": constant(1.0)})
    return Recipe(merge_method="linear", base_model=base, models=(source,))


def _spent(cell: Cell, recipe: Recipe, learned: Learned) -> Spent:
    """Tokens are those of all texts that were learned from, each counted as often as it was read."""
    settings = learned.about["settings"]
    steps = len(learned.about["losses"])
    each = sum(_tokens(kept_set_of(recipe), model, cell.base.model) for model in cell.models)
    tokens = round(steps * float(settings["batch_size"]) * each)
    return Spent({"learning": float(learned.about["seconds"])}, tokens, steps)


def _tokens(texts: CalibrationSet, model: str, base: str) -> float:
    """Of a model's average text."""
    tokenizer = load_tokenizer(local_folder(base))
    counts = [len(tokenizer(one.prompt + one.text)["input_ids"]) for one in texts.of(model)]
    return sum(min(count, texts.max_length) for count in counts) / len(counts)


__all__ = ["learned_choice"]
