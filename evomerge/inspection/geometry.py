"""From the sums of every layer and kind to the figures that people read: shares, cosines, conflicts."""

from collections.abc import Callable, Container, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

from evomerge.inspection.bases import Base, Gram, guessed_base
from evomerge.inspection.measure import (
    Place,
    RowsOfTokens,
    Sums,
    Task,
    common_rows,
    measure,
)
from evomerge.inspection.types import Geometry, Pair, Region
from evomerge.layout import KINDS, layer_of
from evomerge.merging.opening import OpenModels
from evomerge.vocabulary import Tokens

DENSITY = 0.2
"""What TIES trims task vectors to in its paper (Yadav et al. 2023): the top 20 %."""
_GUESS_LAYERS = 2
Progress = Callable[[int, int], None]


class Comparable(NamedTuple):
    """Tensors to compare, the others with the reason, and rows of shared tokens where they differ."""

    names: list[str]
    left_out: dict[str, str]
    rows: list[RowsOfTokens] | None


def measure_geometry(
    models: OpenModels,
    base: Base,
    experts: Sequence[str],
    *,
    layer_groups: int = 4,
    sample: int | None = None,
    progress: Progress | None = None,
) -> Geometry:
    """Measure how far `experts` are from the base, and from each other.

    Args:
        sample: read so many layers only, spread evenly, and the tensors outside of them.
    """
    names, left_out, rows = _comparable(models, base.name, experts)
    layers = _sampled(models[base.name].index.num_layers, sample)
    if layers is not None:
        names = [name for name in names if layer_of(name) in {None, *layers}]
    checkpoints = [models[name] for name in experts]
    sums = measure(Task(models[base.name], checkpoints, names, rows, DENSITY), progress)
    groups = _groups(models[base.name].index.num_layers, layer_groups)
    whole, by_kind, by_layers, regions = _regions(sums, groups, experts)
    return Geometry(
        base=base.name,
        told_by=base.told_by,
        models=tuple(experts),
        whole=whole,
        by_kind=by_kind,
        by_layers=by_layers,
        regions=regions,
        density=DENSITY,
        layers_read=layers,
        left_out=left_out,
    )


def _regions(
    sums: Mapping[Place, Sums], groups: Mapping[str, frozenset[int]], experts: Sequence[str]
) -> tuple[Region, tuple[Region, ...], tuple[Region, ...], tuple[Region, ...]]:
    """The whole; each kind; each run of layers, and what is outside of them; each kind in each run."""

    def region(layers: str, kind: str, own: Container[int | None] | None = None) -> Region:
        inside = [place for place in sums if own is None or place[0] in own]
        chosen = [sums[place] for place in inside if kind in ("all", place[1])]
        return _region(layers, kind, chosen, experts)

    kinds = [kind for kind in KINDS if any(place[1] == kind for place in sums)]
    everywhere = [("outside", frozenset({None})), *groups.items()]
    by_layers = [region(name, "all", own) for name, own in everywhere]
    each = [region(name, kind, own) for name, own in everywhere for kind in kinds]
    return (
        region("all", "all"),
        tuple(region("all", kind) for kind in kinds),
        tuple(found for found in by_layers if found.parameters),
        tuple(found for found in each if found.parameters),
    )


def guess_base(models: OpenModels, names: Sequence[str]) -> Base | None:
    """The base as the weights of a few layers show it, where they do."""

    def gram() -> Gram:
        first = models[names[0]]
        layers = _sampled(first.index.num_layers, _GUESS_LAYERS) or range(first.index.num_layers)
        shared, _, _ = _comparable(models, names[0], names[1:])
        inner = [name for name in shared if layer_of(name) in layers]
        task = Task(first, [models[name] for name in names], inner, None, DENSITY)
        total = Sums(len(names))
        for part in measure(task).values():
            total.add(part)
        return total.gram

    return guessed_base(names, gram)


def _comparable(models: OpenModels, base: str, experts: Sequence[str]) -> Comparable:
    """Which tensors of the base all models have, in one shape or with rows that can be matched."""
    index, others = models[base].index, [models[name] for name in experts]
    rows = _rows(models, base, experts)
    names, left_out = [], {}
    for name, info in index.tensors.items():
        found = [other.find(name) for other in others]
        shapes = {one.shape for one in found if one is not None}
        by_token = name in index.vocabulary_tensors
        matched = by_token and rows is not None and len({s[1:] for s in (*shapes, info.shape)}) == 1
        if None in found:
            left_out[name] = "not in every model"
        elif shapes == {info.shape} or matched:
            names.append(name)
        else:
            left_out[name] = "of another shape" + (", and a tokenizer is missing" * by_token)
    return Comparable(sorted(names), left_out, rows)


def _rows(models: OpenModels, base: str, experts: Sequence[str]) -> list[RowsOfTokens] | None:
    """The rows of the tokens that all have; None where vocabularies are equal, or one is unknown."""
    known = [models.vocabulary(name) for name in (base, *experts)]
    tokens: list[Tokens] = [one.tokens for one in known if one is not None and one.tokens]
    if len(tokens) < len(known) or all(one == tokens[0] for one in tokens):
        return None
    return common_rows(tokens)


def _sampled(layers: int, sample: int | None) -> tuple[int, ...] | None:
    """So many layers from the first to the last, evenly; None for all."""
    if sample is None or sample >= layers:
        return None
    if sample == 1:
        return (layers // 2,)
    return tuple(dict.fromkeys(round(i * (layers - 1) / (sample - 1)) for i in range(sample)))


def _groups(layers: int, count: int) -> Mapping[str, frozenset[int]]:
    """Runs of layers by name, as `layer_groups` of a search cuts them."""
    count = min(count, layers)
    runs: dict[int, list[int]] = {}
    for layer in range(layers):
        runs.setdefault(layer * count // layers, []).append(layer)
    return {_run_name(run): frozenset(run) for run in runs.values()}


def _run_name(run: Sequence[int]) -> str:
    return f"layer {run[0]}" if len(run) == 1 else f"layers {run[0]}–{run[-1]}"


def _region(layers: str, kind: str, parts: Sequence[Sums], experts: Sequence[str]) -> Region:
    total = Sums(len(experts))
    for part in parts:
        total.add(part)
    pairs = {Pair(experts[i], experts[j]): (i, j) for i, j in combinations(range(len(experts)), 2)}
    norms = [max(float(total.gram[i, i]), 0.0) ** 0.5 for i in range(len(experts))]
    base = total.base_square**0.5
    return Region(
        layers=layers,
        kind=kind,
        parameters=total.entries,
        distance={name: _share(norms[i], base) for i, name in enumerate(experts)},
        mean_change={
            name: float(total.magnitude[i]) / max(total.entries, 1)
            for i, name in enumerate(experts)
        },
        cosine={
            p: _share(float(total.gram[at]), norms[at[0]] * norms[at[1]]) for p, at in pairs.items()
        },
        opposed={
            p: _share(float(total.opposed[at]), float(total.both[at])) for p, at in pairs.items()
        },
        shared={
            p: _share(float(total.both[at]), float(total.both[at[0], at[0]]))
            for p, at in pairs.items()
        },
        conflict=_share(total.mixed, total.several),
    )


def _share(part: float, whole: float) -> float | None:
    return part / whole if whole > 0 else None
