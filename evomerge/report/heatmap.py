"""The best recipe as tables of numbers: for each parameter, models and tensor kinds by layers.

Stacks of layers are shown as their runs.

Read from the recipe's rules alone, as the models may be gone. Neighbouring layers with equal values
in all rows become one column.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from evomerge.hub import short_name
from evomerge.insight.features import tensors_of
from evomerge.recipe import Recipe, Setting


@dataclass(frozen=True)
class HeatRow:
    """One model and place; `values` aligns with the map's columns, or is one value for all layers."""

    model: str
    place: str
    values: tuple[float, ...]


@dataclass(frozen=True)
class HeatMap:
    """One parameter; no columns where nothing differs between layers."""

    parameter: str
    columns: tuple[str, ...]
    rows: tuple[HeatRow, ...]

    @property
    def peak(self) -> float:
        """The largest magnitude: what the strongest colour stands for."""
        return max((abs(value) for row in self.rows for value in row.values), default=0.0) or 1.0


Line = tuple[str, str, tuple[float, ...]]


def heat_maps(recipe: Recipe) -> tuple[HeatMap, ...]:
    """One map for each per-model parameter of the recipe; shared ones make a map of their own."""
    sources = tuple(recipe.sources())
    names = dict.fromkeys(name for source in sources for name in source.parameters)
    maps = []
    for name in names:
        settings = [(s.model, s.parameters[name]) for s in sources if name in s.parameters]
        maps.append(_heat_map(name, settings))
    maps += [_heat_map(name, [("all models", s)]) for name, s in recipe.parameters.items()]
    return tuple(found for found in maps if found.rows)


def _heat_map(parameter: str, settings: Sequence[tuple[str, Setting]]) -> HeatMap:
    lines = list(
        dict.fromkeys(
            (short_name(model), place, values)
            for model, setting in settings
            for place, values in _lines(setting)
        )
    )
    width = max((len(values) for _, _, values in lines), default=1)
    starts = _starts([line for line in lines if len(line[2]) == width], width)
    layered = len(starts) > 1
    models = list(dict.fromkeys(model for model, _, _ in lines))
    rows = [
        HeatRow(model, place, _at(values, starts) if len(values) == width else values)
        for model, place, values in lines
    ]
    rows.sort(key=lambda row: (models.index(row.model), _ORDER.get(row.place, 1)))
    columns = tuple(_span(start, end) for start, end in pairwise([*starts, width]))
    return HeatMap(parameter, columns if layered else (), tuple(rows))


_ORDER = {"embedding": 0, "final norm": 2, "head": 3}


def _at(values: tuple[float, ...], starts: Sequence[int]) -> tuple[float, ...]:
    return tuple(values[start] for start in starts)


def _lines(setting: Setting) -> Iterator[tuple[str, tuple[float, ...]]]:
    """Each rule's place in words, and its numbers; switches and options are not drawn."""
    alone = len(setting) == 1
    for rule in setting:
        if isinstance(rule.value, bool | str):
            continue
        values = rule.value if isinstance(rule.value, tuple) else (rule.value,)
        yield tensors_of(rule, alone=alone), tuple(float(value) for value in values)


def _starts(lines: Sequence[Line], width: int) -> list[int]:
    """The first layers of runs in which no line changes."""
    changed = (any(values[i] != values[i - 1] for _, _, values in lines) for i in range(1, width))
    return [0, *(i for i, change in enumerate(changed, start=1) if change)]


def _span(start: int, end: int) -> str:
    return f"{start}" if end - start == 1 else f"{start}–{end - 1}"


def stacked_layers(recipe: Recipe) -> tuple[tuple[str, str], ...]:
    """A stack of slices from the first layer to the last: models and their layers, in runs.

    Empty for other recipes, and for slices that mix models.
    """
    slices = recipe.slices or ()
    if any(len(one.sources) != 1 or one.sources[0].layer_range is None for one in slices):
        return ()
    runs: list[tuple[str, int, int]] = []
    for one in slices:
        source = one.sources[0]
        assert source.layer_range is not None
        start, end = source.layer_range
        if runs and runs[-1][0] == source.model and runs[-1][2] == start:
            start = runs.pop()[1]
        runs.append((source.model, start, end))
    return tuple((short_name(model), _span(start, end)) for model, start, end in runs)
