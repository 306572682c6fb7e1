"""A recipe's modules and slices in one flat order, with parameters where they are looked up.

`models` is one slice of all layers, and a recipe without modules is one module of the whole model.
A module's parameters come after those of its slices: as rules are tried in order, appending them
to the slice's own rules says exactly that, and nothing downstream has to know of modules.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from evomerge.recipe import Module, Recipe, Setting, Settings, Slice

WHOLE = "default"
"""mergekit's name for the tensors that no other module has: without others, the whole model."""


@dataclass(frozen=True)
class Section:
    """The slices of one module; `module` is None where the recipe names none.

    `sliced` says whether they were written as slices: `models` is one slice of all layers.
    """

    module: str | None
    slices: tuple[Slice, ...]
    sliced: bool


class Placed(NamedTuple):
    """A slice with its name for error messages."""

    part: Slice
    place: str


def sections_of(recipe: Recipe) -> tuple[Section, ...]:
    """Every module, by name: equal recipes must give equal models, masks and all."""
    if recipe.modules is None:
        return (_section(None, recipe),)
    return tuple(_section(name, module) for name, module in sorted(recipe.modules.items()))


def slices_of(recipe: Recipe) -> tuple[Slice, ...]:
    """The slices of all modules, in the order of `sections_of`."""
    return tuple(run for section in sections_of(recipe) for run in section.slices)


def placed_slices(recipe: Recipe) -> Iterator[Placed]:
    """Every slice, and what to call it."""
    for section in sections_of(recipe):
        module = [] if section.module is None else [f"module {section.module}"]
        for number, run in enumerate(section.slices):
            yield Placed(run, ", ".join([*module, *[f"slice {number}"] * section.sliced]))


def _section(name: str | None, owner: Recipe | Module) -> Section:
    slices = owner.slices or (Slice(sources=owner.models or ()),)
    if isinstance(owner, Module):
        slices = tuple(
            run.model_copy(update={"parameters": _behind(run.parameters, owner.parameters)})
            for run in slices
        )
    return Section(name, slices, owner.slices is not None)


def _behind(first: Settings, then: Settings) -> Settings:
    names = dict.fromkeys([*first, *then])
    return {name: _chain(first.get(name, ()), then.get(name, ())) for name in names}


def _chain(first: Setting, then: Setting) -> Setting:
    """The rules of both; none after one that matches everything."""
    return first if any(rule.filter is None for rule in first) else first + then
