"""The statistics of a recipe's models, as its tensors are merged: mapped files, read when they are needed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.calibration.recipes import kept_set_of, requests_for
from evomerge.calibration.sets import CalibrationSet
from evomerge.calibration.statistic import get_statistic
from evomerge.calibration.store import Request, StatisticStore
from evomerge.errors import CheckpointError, NotFoundError
from evomerge.fingerprint import fingerprint
from evomerge.headers import TensorInfo, read_header
from evomerge.layout import CheckpointIndex, layer_of
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.plan import Part, TensorPlan
from evomerge.methods import Measurement, Measurements, Method, Weighing
from evomerge.recipe import Recipe

Scores = dict[str, NDArray[np.float64]]
_FACTORS = {"input_grams": "inputs", "output_gradient_grams": "outputs"}


class Calibrated:
    """Statistics of the models of one recipe, and of all that name the same models and texts.

    Args:
        checkpoints: the models, as they are merged: with adapters, in the merge's vocabulary.
    """

    def __init__(
        self, checkpoints: Mapping[str, Checkpoint], texts: CalibrationSet, store: StatisticStore
    ) -> None:
        self._checkpoints = checkpoints
        self._texts = texts
        self._store = store
        self._prints: dict[str, str] = {}
        self._open: dict[tuple[str, str, str], _Opened] = {}
        self._there: set[Request] = set()
        self._compared: dict[tuple[str, ...], tuple[Scores, NDArray[np.float64]]] = {}

    def check(self, method: Method, plans: Iterable[TensorPlan]) -> None:
        """Raise NotFoundError where something was not measured yet that the plans need."""
        wanted: dict[str, Request] = {}
        for names, models in {(_needed(method, plan), _models(plan)) for plan in plans}:
            prints = {model: self._print(model) for model in models}
            wanted |= {one.key: one for one in requests_for(names, self._texts, prints)}
        missing = [one for one in wanted.values() if not self._has(one)]
        if missing:
            more = f", and {len(missing) - 1} more" if len(missing) > 1 else ""
            raise self._not_measured(missing[0], more)

    def _has(self, request: Request) -> bool:
        if request not in self._there and self._store.has(request):
            self._there.add(request)
        return request in self._there

    def _not_measured(self, request: Request, more: str) -> NotFoundError:
        return NotFoundError(
            f"not measured yet: {request.description}{more}",
            where=f"calibration {self._texts.name}",
            remedy="run `evomerge calibrate FILE` on this configuration or search file",
        )

    def measured(self, method: Method, plan: TensorPlan) -> list[Measurements]:
        """The statistics of each model's tensor."""
        names = _needed(method, plan)
        return [
            {name: self._measurement(name, part) for name in names} for part in plan.layout.parts
        ]

    def crosswise(self, name: str, model: str, owners: Sequence[str]) -> dict[str, Tensor]:
        """A crosswise statistic of a model by tensor, on the texts of all `owners` one after the other.

        Raises NotFoundError where it was not measured yet, CheckpointError where the owners' tokens
        are not the model's.
        """
        opened = [self._known(name, model, owner) for owner in self._different(owners)]
        for one, owner in zip(opened, self._different(owners), strict=True):
            if one.header["ids"] != self._known(name, owner, owner).header["ids"]:
                raise _other_tokens(model, owner)
        found: dict[str, Tensor] = {}
        for leader in opened[0].names:
            parts = [one.tensor(leader) for one in opened]
            found[leader] = torch.cat([part for part in parts if part is not None])
        leaders = opened[0].leaders
        return found | {n: found[first] for n, first in leaders.items() if first in found}

    def model_values(self, name: str, model: str) -> dict[str, Tensor]:
        """A statistic of a model by name. Raises NotFoundError where it was not measured yet."""
        opened = self._known(name, model, model)
        found = {one: opened.tensor(one) for one in opened.names}
        return {one: value for one, value in found.items() if value is not None}

    def _different(self, owners: Sequence[str]) -> list[str]:
        """One owner of each set of texts."""
        return list({self._texts.digest_of(owner): owner for owner in owners}.values())

    def _known(self, name: str, model: str, owner: str) -> "_Opened":
        request = Request(name, model, self._print(model), self._texts.digest_of(owner), owner)
        if not self._store.has(request):
            raise self._not_measured(request, "")
        return self._opened(name, model, owner)

    def weighed(self, method: Method, plans: Sequence[TensorPlan]) -> tuple[TensorPlan, ...]:
        """The plans with each model's weight as the method makes it of statistics."""
        assert method.weigh is not None
        found = []
        for plan in plans:
            models = _models(plan)
            if models not in self._compared:
                self._compared[models] = self._scores(models), self._distances(models)
            layer = _layer(plan.layout.parts[0].info.name)
            scores, distances = self._compared[models]
            inside = layer if layer in scores else None
            weights = method.weigh(Weighing(inside, scores, distances, plan.values, plan.own))
            pairs = zip(plan.own, weights.tolist(), strict=True)
            own = tuple({**values, "weight": weight} for values, weight in pairs)
            found.append(replace(plan, own=own))
        return tuple(found)

    def _measurement(self, name: str, part: Part) -> Measurement | None:
        opened = self._opened(name, part.model, part.model)
        leader = opened.leaders.get(part.info.name, part.info.name)
        value = opened.tensor(leader)
        if value is None:
            return None
        total, squares, trace = opened.moments[leader]
        checkpoint = self._checkpoints[part.model]
        if name not in _FACTORS:
            value = _in_place(value, checkpoint.rows(part.info))
        swapped = part.info.name in opened.transposed
        axis = 0 if swapped == (_FACTORS.get(name, "inputs") == "inputs") else 1
        mark = f"{opened.key}:{leader}:{checkpoint.fingerprint(part.info)}"
        size = max(value.numel(), 1)
        return Measurement(value, axis, total, squares, trace, size, opened.squares, mark)

    def _scores(self, models: Sequence[str]) -> Scores:
        """Of each layer, the sensitivities of the models [N]."""
        totals: Scores = {}
        for number, model in enumerate(models):
            for name, (total, _, _) in self._opened("sensitivity", model, model).moments.items():
                if (layer := _layer(name)) is not None:
                    totals.setdefault(layer, np.zeros(len(models)))[number] += total
        return totals

    def _distances(self, models: Sequence[str]) -> NDArray[np.float64]:
        """Mean distance of the logits of models i and j on the texts of j, [N, N]."""
        found = np.zeros((len(models), len(models)))
        for row, one in enumerate(models):
            for column, other in enumerate(models):
                if one != other:
                    found[row, column] = self._distance(one, other)
        return found

    def _distance(self, one: str, other: str) -> float:
        mine, theirs = self._opened("logits", one, other), self._opened("logits", other, other)
        logits = [opened.tensor("logits") for opened in (mine, theirs)]
        alike = mine.header["ids"] == theirs.header["ids"]
        if (
            logits[0] is None
            or logits[1] is None
            or logits[0].shape != logits[1].shape
            or not alike
        ):
            raise _other_tokens(one, other)
        return float((logits[0].double() - logits[1].double()).norm(dim=-1).mean())

    def _opened(self, name: str, model: str, owner: str) -> "_Opened":
        known = (name, model, owner)
        if known not in self._open:
            texts = self._texts.digest_of(owner)
            request = Request(name, model, self._print(model), texts, owner)
            self._open[known] = _Opened(request, self._store)
        return self._open[known]

    def _print(self, model: str) -> str:
        if model not in self._prints:
            self._prints[model] = fingerprint(self._checkpoints[model].index)
        return self._prints[model]


def _other_tokens(one: str, other: str) -> CheckpointError:
    return CheckpointError(
        f"its tokens are not those of {other}: what they answer cannot be compared",
        where=one,
        remedy="merge models of one vocabulary by this method",
    )


class _Opened:
    """One statistic of one model: its header, and its values as mapped files."""

    def __init__(self, request: Request, store: StatisticStore) -> None:
        folder = store.folder(request)
        self.key = request.key
        self.header = store.header(request)
        self.moments: dict[str, list[float]] = self.header["moments"]
        self.leaders: dict[str, str] = self.header["notes"].get("leaders", {})
        self.transposed = frozenset(self.header["notes"].get("transposed", ()))
        infos: dict[str, TensorInfo] = {
            info.name: info
            for part in sorted(folder.glob("part-*.safetensors"))
            for info in read_header(part)
        }
        self._values = Checkpoint(CheckpointIndex(folder, {}, infos))

    def tensor(self, name: str) -> Tensor | None:
        info = self._values.index.tensors.get(name)
        return None if info is None else self._values.tensor(info)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._values.index.tensors)

    @cached_property
    def squares(self) -> float:
        """Sum of squares over all tensors."""
        return sum(squares for _, squares, _ in self.moments.values())


def calibrated(recipe: Recipe, checkpoints: Mapping[str, Checkpoint]) -> Calibrated:
    """The statistics that a recipe names. RecipeError where it names no texts by their content."""
    return Calibrated(checkpoints, kept_set_of(recipe), StatisticStore())


def _needed(method: Method, plan: TensorPlan) -> tuple[str, ...]:
    names = method.statistics(plan.values) if method.statistics else ()
    return tuple(get_statistic(name).name for name in names)


def _models(plan: TensorPlan) -> tuple[str, ...]:
    return tuple(part.model for part in plan.layout.parts)


def _layer(name: str) -> str | None:
    """A tensor's name up to the number of its layer; None outside the layers."""
    layer = layer_of(name)
    return None if layer is None else name.partition(f".{layer}.")[0] + f".{layer}"


def _in_place(value: Tensor, rows: NDArray[np.int64] | None) -> Tensor:
    """The rows of a value where a merge's vocabulary has them; 0 for those that a model lacks."""
    if rows is None:
        return value
    moved = value[torch.from_numpy(np.maximum(rows, 0))]
    moved[torch.from_numpy(rows < 0)] = 0.0
    return moved
