"""Recipes as a table of numbers: one column for every value that differs between candidates.

Columns come from what recipes say, and not from the space that they were drawn from: the models may
be gone, and candidates that were given or taken over from another search count as well. Neighbouring
layers whose values are the same in every recipe are one column, so layer groups come back by themselves.
Shapes: N candidates, F features.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from evomerge.hub import short_name
from evomerge.layout import KIND_FILTERS, kind_of
from evomerge.recipe import Recipe, Rule, Scalar, Setting

Floats = NDArray[np.float64]
METHOD = "method"
ALL_TENSORS = "all tensors"
_OUTER = ("embed", "wte", "wpe", "lm_head", "embed_out")
_KIND_OF_MARK = {mark: kind for kind, marks in KIND_FILTERS for mark in marks if mark}


@dataclass(frozen=True)
class Feature:
    """A number in which recipes differ: a parameter, of which model, in which tensors and layers.

    None where it holds for all; layers are the first and the last one. also: other places that get the
    same value in every recipe.
    """

    parameter: str
    model: str | None = None
    tensors: str | None = None
    layers: tuple[int, int] | None = None
    also: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """`weight · code · attention · layers 0–3`."""
        parts = (self.parameter, self.model, self.tensors, self.layers_label)
        return " + ".join((" · ".join(part for part in parts if part), *self.also))

    @property
    def layers_label(self) -> str | None:
        """`layer 3`, `layers 0–3`."""
        if self.layers is None:
            return None
        first, last = self.layers
        return f"layer {first}" if first == last else f"layers {first}–{last}"


@dataclass(frozen=True)
class FeatureTable:
    """`values_NF[i, j]` is what candidate i says of feature j; NaN where it says nothing."""

    features: tuple[Feature, ...]
    values_NF: Floats


def feature_table(
    recipes: Sequence[Recipe], genomes: Sequence[tuple[float, ...] | None]
) -> FeatureTable:
    """The features of some candidates.

    Where recipes are stacks of slices, which have no fixed places to compare, the genomes stand in.
    """
    flat = all(recipe.models for recipe in recipes)
    columns = _recipe_columns(recipes) if flat else _gene_columns(genomes)
    kept = {f: values for f, values in columns.items() if len(np.unique(values)) > 1}
    merged = _without_twins(_merged(kept))
    table_FN = np.array(list(merged.values())).reshape(len(merged), len(recipes))
    return FeatureTable(tuple(merged), table_FN.T)


def _recipe_columns(recipes: Sequence[Recipe]) -> dict[Feature, Floats]:
    names = _short_names({model for recipe in recipes for model in recipe.all_models()})
    cells: dict[Feature, dict[int, Scalar]] = {}
    for place, recipe in enumerate(recipes):
        for feature, value in _cells(recipe, names):
            cells.setdefault(feature, {})[place] = value
    return {feature: _numbers(found, len(recipes)) for feature, found in cells.items()}


def _short_names(models: set[str]) -> dict[str, str]:
    """The last part of each name, where that is enough to tell models apart."""
    short = {model: short_name(model) for model in models}
    return short if len(set(short.values())) == len(short) else {model: model for model in models}


def _cells(recipe: Recipe, names: Mapping[str, str]) -> Iterator[tuple[Feature, Scalar]]:
    yield Feature(METHOD), recipe.merge_method
    for source in recipe.sources():
        for name, setting in source.parameters.items():
            yield from _setting_cells(name, names[source.model], setting)
    for name, setting in recipe.parameters.items():
        yield from _setting_cells(name, None, setting)


def _setting_cells(
    name: str, model: str | None, setting: Setting
) -> Iterator[tuple[Feature, Scalar]]:
    for rule in setting:
        named = tensors_of(rule, alone=len(setting) == 1)
        tensors = None if named == ALL_TENSORS else named
        if isinstance(rule.value, tuple):
            for layer, value in enumerate(rule.value):
                yield Feature(name, model, tensors, (layer, layer)), value
        else:
            yield Feature(name, model, tensors), rule.value


def tensors_of(rule: Rule, *, alone: bool) -> str:
    """The tensors that a rule speaks of, in words; `alone` where it is its setting's only rule."""
    if rule.filter in (None, "", "*"):
        return ALL_TENSORS if alone else "mlp and the rest"
    assert rule.filter is not None
    if rule.filter in _KIND_OF_MARK:
        return _KIND_OF_MARK[rule.filter]
    if rule.filter.endswith("norm.weight"):
        return "final norm"
    return kind_of(rule.filter) if any(mark in rule.filter for mark in _OUTER) else rule.filter


def _numbers(cells: dict[int, Scalar], count: int) -> Floats:
    """Options become their place in the alphabet: trees cut anywhere, so any order will do."""
    options = sorted({value for value in cells.values() if isinstance(value, str)})
    column = np.full(count, np.nan)
    for place, value in cells.items():
        column[place] = options.index(value) if isinstance(value, str) else float(value)
    return column


def _gene_columns(genomes: Sequence[tuple[float, ...] | None]) -> dict[Feature, Floats]:
    length = max((len(genome) for genome in genomes if genome), default=0)
    table = np.full((len(genomes), length), np.nan)
    for place, genome in enumerate(genomes):
        if genome:
            table[place, : len(genome)] = genome
    return {Feature(f"gene {n}"): column for n, column in enumerate(table.T)}


def _merged(columns: dict[Feature, Floats]) -> dict[Feature, Floats]:
    """Neighbouring layers of one parameter with equal columns become one feature."""
    merged: dict[Feature, Floats] = {}
    last: Feature | None = None
    for feature, values in columns.items():
        if last is not None and _continues(last, feature):
            equal = np.array_equal(merged[last], values, equal_nan=True)
            if equal and last.layers and feature.layers:
                del merged[last]
                layers = (last.layers[0], feature.layers[1])
                feature = Feature(feature.parameter, feature.model, feature.tensors, layers)  # noqa: PLW2901
        merged[feature] = values
        last = feature
    return merged


def _without_twins(columns: dict[Feature, Floats]) -> dict[Feature, Floats]:
    """Columns of one parameter and model that are equal in every recipe are one feature: the layers'."""
    found: dict[tuple[str | None, ...], list[Feature]] = {}
    for feature, values in columns.items():
        key = (feature.parameter, feature.model, str(values.tolist()))
        found.setdefault(key, []).append(feature)
    single = {}
    for twins in found.values():
        first = max(twins, key=lambda twin: twin.layers is not None)
        others = [twin for twin in twins if twin is not first]
        also = tuple(_place(twin) for twin in others if _place(twin))
        single[replace(first, also=also)] = columns[first]
    return single


def _place(feature: Feature) -> str:
    return " ".join(part for part in (feature.tensors, feature.layers_label) if part)


def _continues(one: Feature, other: Feature) -> bool:
    same = (one.parameter, one.model, one.tensors) == (other.parameter, other.model, other.tensors)
    return same and bool(one.layers and other.layers and one.layers[1] + 1 == other.layers[0])
