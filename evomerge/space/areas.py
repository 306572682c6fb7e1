"""Where the values of a parameter apply: sets of tensors, as rules of a recipe can say them.

A parameter is divided by kind of tensor, by named filters, by tensor, or not at all, and each set
perhaps along the layers. Embeddings and head get genes of their own as soon as layers or kinds are
told apart (mergekit would give them the first layer's value); with filters they are where the
filters put them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from evomerge.layout import KIND_FILTERS, CheckpointIndex, kind_of, layer_of
from evomerge.recipe import Rule
from evomerge.space.searched import Range

OUTER_KINDS = ("embedding", "head")
"""Kinds outside the layers that get genes of their own; the final norm follows the last group."""


@dataclass(frozen=True)
class Area:
    """A set of tensors that shares its values: one for each of `groups` runs of layers.

    `filters` are the rules that say it, in order; `groups` is None where layers are not told apart.
    """

    kind: str | None = None
    filter: str | None = None
    filters: tuple[str | None, ...] = (None,)
    groups: int | None = None


@dataclass(frozen=True)
class Sites:
    """The areas of a parameter; `outer` names tensors that come first and take an area's last value."""

    areas: tuple[Area, ...]
    outer: tuple[tuple[str, Area], ...] = ()


def sites_of(searched: Range, index: CheckpointIndex, groups: int) -> Sites:
    """Where the values of `searched` apply in the checkpoint."""
    if searched.is_global:
        return Sites((Area(),))
    grouped = groups if "layer_group" in searched.per else None
    if "filter" in searched.per:
        return _by_filter(searched.filters, index, grouped)
    if "tensor" in searched.per:
        return _by_filter({name: name for name in roles(index)}, index, grouped)
    return _by_kind("kind" in searched.per, index, grouped)


def owners(filters: Mapping[str, str], index: CheckpointIndex) -> dict[str, str | None]:
    """For each tensor the name of the first filter that matches it, or None."""
    rules = {name: Rule(filter=text, value=0.0) for name, text in filters.items()}
    return {
        tensor: next((name for name, rule in rules.items() if rule.matches(tensor)), None)
        for tensor in index.tensors
    }


def roles(index: CheckpointIndex) -> tuple[str, ...]:
    """Names of tensors without their layer. Long ones first: a short one may be part of them."""
    found = dict.fromkeys(_role(name) for name in index.tensors)
    return tuple(sorted(found, key=lambda name: (-len(name), name)))


def _role(name: str) -> str:
    layer = layer_of(name)
    return name if layer is None else name.split(f".{layer}.", 1)[1]


def _by_filter(filters: Mapping[str, str], index: CheckpointIndex, groups: int | None) -> Sites:
    owner = owners(filters, index)
    layered = {name for tensor, name in owner.items() if layer_of(tensor) is not None}
    areas = {
        name: Area(filter=name, filters=(text,), groups=groups if name in layered else None)
        for name, text in filters.items()
    }
    # A list over the layers gives other tensors its first value: right for embeddings alone.
    late = [name for name in _nameable(index) if kind_of(name) != "embedding"]
    outer = [(tensor, areas[name]) for tensor in late if (name := owner[tensor]) is not None]
    return Sites(tuple(areas.values()), tuple(pair for pair in outer if pair[1].groups))


def _by_kind(divided: bool, index: CheckpointIndex, groups: int | None) -> Sites:
    kinds = index.kinds if divided else (None,)
    inner = {kind: Area(kind, None, _filters(kind, index), groups) for kind in kinds}
    present = dict.fromkeys(kind_of(name) for name in index.outer_tensors)
    own = {kind: Area(kind, None, ()) for kind in present if kind in OUTER_KINDS}
    near = next(iter(inner.values()))
    outer = [
        (tensor, own.get(kind_of(tensor), inner.get(kind_of(tensor), near)))
        for tensor in _nameable(index)
    ]
    return Sites((*inner.values(), *own.values()), tuple(outer))


def _filters(kind: str | None, index: CheckpointIndex) -> tuple[str | None, ...]:
    """The substrings that mark a kind, as far as tensors in layers have them."""
    if kind is None:
        return (None,)
    names = [name for name in index.tensors if layer_of(name) is not None]
    marks = dict(KIND_FILTERS)[kind]
    return tuple(mark or None for mark in marks if any(mark in name for name in names))


def _nameable(index: CheckpointIndex) -> list[str]:
    """Outer tensors whose name, as a filter, means them alone ("norm.weight" may be in layers too)."""
    inner = [name for name in index.tensors if layer_of(name) is not None]
    return [tensor for tensor in index.outer_tensors if not any(tensor in name for name in inner)]
