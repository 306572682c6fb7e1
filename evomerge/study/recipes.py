"""Recipes of cells whose hyperparameters are given: published values, or the file's own."""

from evomerge.methods import Method
from evomerge.methods.base import Trim, Value
from evomerge.recipe import Calibration, Recipe, Settings, Source, constant
from evomerge.study.plan import Cell
from evomerge.study.published import published


def default_recipe(cell: Cell, texts: str | None) -> Recipe:
    """The cell's merge at published values, with what its entry says instead.

    Args:
        texts: the calibration texts as `set:ID`, for methods that need any.
    """
    method, values = cell.entry.declared, given_values(cell)
    own = {name: constant(value) for name, value in values.items() if _per_model(method, name)}
    shared = {name: constant(value) for name, value in values.items() if name not in own}
    return Recipe(
        merge_method=method.name,
        base_model=cell.base.model,
        models=tuple(_source(model, method, own) for model in cell.models),
        parameters=shared,
        calibration=Calibration(data=texts) if texts and needs_texts(method) else None,
        seed=cell.seed if draws_numbers(method) else 0,
    )


def given_values(cell: Cell) -> dict[str, Value]:
    """The values that are not left to the method's own defaults."""
    return {**published(cell.entry.method), **cell.entry.parameters}


def needs_texts(method: Method) -> bool:
    """Whether the method's recipes name texts: it measures models, or learns on texts."""
    return method.statistics is not None or method.learned


def draws_numbers(method: Method) -> bool:
    """Whether the merge itself depends on a seed."""
    return method.learned or method.trim in {Trim.RANDOM, Trim.RANKED}


def needs_weight(method: Method) -> bool:
    """Whether models must be given a weight, which is 1 each."""
    weight = method.parameter("weight")
    return weight is not None and weight.required


def _source(model: str, method: Method, own: Settings) -> Source:
    weight: Settings = {"weight": constant(1.0)} if needs_weight(method) else {}
    return Source(model=model, parameters={**weight, **own})


def _per_model(method: Method, name: str) -> bool:
    parameter = method.parameter(name)
    return parameter is not None and parameter.per_model
