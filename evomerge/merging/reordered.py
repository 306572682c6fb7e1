"""A recipe's models with their units in one order: `align: permutation`, or `align: activations`.

The base stays as it is, or the first model where there is no base; the units of every other one are
matched to it, by weights or by what they answer to calibration texts, and its tensors come in that order.
Orders are worked out once and kept on disk.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from torch import Tensor

from evomerge.alignment.activations import match_activations
from evomerge.alignment.groups import Group, all_groups
from evomerge.alignment.permute import Order, Orders, Permuter
from evomerge.alignment.transformers import transformer_groups
from evomerge.alignment.weights import match_weights
from evomerge.errors import CheckpointError
from evomerge.headers import TensorInfo
from evomerge.merging.align import Aligned
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.statistics import StatisticsCache
from evomerge.recipe import Recipe

_VERSION = 1
ACTIVATIONS = "activations"


class ReorderedCheckpoint(Checkpoint):
    """A model with its units in another order."""

    def __init__(
        self, inner: Checkpoint, groups: Sequence[Group], orders: Orders, mark: str
    ) -> None:
        super().__init__(inner.index)
        self._inner, self._mark = inner, mark
        self._permuter, self._orders = Permuter(groups), orders

    def tensor(self, info: TensorInfo) -> Tensor:
        return self._permuter.apply(info.name, self._inner.tensor(info), self._orders)

    def fingerprint(self, info: TensorInfo) -> str:
        return repr((self._mark, self._inner.fingerprint(info)))


def reorder(recipe: Recipe, aligned: Aligned, cache: StatisticsCache) -> Aligned:
    """The models of a recipe that asks for it in one order of units.

    Raises CheckpointError for an architecture whose units are not known, or models of several shapes.
    """
    if recipe.align is None:
        return aligned
    models = dict(aligned.checkpoints)
    names = recipe.all_models()
    reference = models[names[0]]
    groups = groups_of(reference)
    for name in names[1:]:
        check_alike(reference, models[name])
        match, how = _matching(recipe, aligned, groups, name)
        orders = matched(reference, models[name], groups, cache, recipe.seed, match, how)
        mark = repr((_VERSION, how, _mark(reference), recipe.seed))
        models[name] = ReorderedCheckpoint(models[name], groups, orders, mark)
    return replace(aligned, checkpoints=models)


def _matching(
    recipe: Recipe, aligned: Aligned, groups: Sequence[Group], name: str
) -> tuple[Callable[[], Mapping[str, Order]] | None, object]:
    """How a model's units are matched, and what that depends on besides the models; None: by weights."""
    if recipe.align != ACTIVATIONS:
        return None, "weights"
    from evomerge.merging.calibrated import calibrated

    known = calibrated(recipe, aligned.checkpoints)
    first = recipe.all_models()[0]

    def match() -> Mapping[str, Order]:
        one, two = (known.crosswise("activations", n, (first, name)) for n in (first, name))
        return match_activations(groups, {n: (one[n], two[n]) for n in one if n in two})

    return match, ("activations", recipe.calibration)


def groups_of(model: Checkpoint) -> tuple[Group, ...]:
    """The groups of a model's units."""
    config = model.index.config
    text = config.get("text_config")
    shapes = {name: info.shape for name, info in model.index.tensors.items()}
    return transformer_groups({**text, **config} if isinstance(text, dict) else config, shapes)


def check_alike(one: Checkpoint, other: Checkpoint) -> None:
    """Raise CheckpointError where two models do not have the same tensors of the same shapes."""
    for name, info in one.index.tensors.items():
        found = other.index.tensors.get(name)
        if found is None or found.shape != info.shape:
            has = "no such tensor" if found is None else f"shape {list(found.shape)}"
            raise CheckpointError(
                f"tensor {name!r} of shape {list(info.shape)}: {has}",
                where=other.index.name,
                remedy="permutations need models of one architecture, size and vocabulary",
            )


def matched(
    one: Checkpoint,
    other: Checkpoint,
    groups: Sequence[Group],
    cache: StatisticsCache,
    seed: int,
    match: Callable[[], Mapping[str, Order]] | None = None,
    how: object = "weights",
) -> dict[str, Order]:
    """The orders of `other`'s units that fit `one`'s; kept under what they depend on."""

    def find() -> Mapping[str, Order]:
        return match_weights(groups, read(one), read(other), seed=seed)

    def flat() -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        found = (match or find)()
        return np.concatenate([found[group.name] for group in all_groups(groups)])

    key = ("orders", _VERSION, how, seed, _mark(one), _mark(other))
    ends = np.cumsum([group.size for group in all_groups(groups)])
    parts = np.split(cache.get(key, flat), ends[:-1])
    return {group.name: part for group, part in zip(all_groups(groups), parts, strict=True)}


def read(model: Checkpoint) -> Callable[[str], Tensor]:
    """Reads a model's tensors by name."""
    return lambda name: model.tensor(model.index.tensors[name])


def _mark(model: Checkpoint) -> str:
    """Names the content of a model."""
    return repr([model.fingerprint(info) for _, info in sorted(model.index.tensors.items())])
