"""Merges that change a model's structure: wider layers, fewer experts.

Such a method makes a checkpoint of its own, in no folder, whose tensors are worked out when they are asked
for. The recipe then stands for that checkpoint alone, so that everything that merges, writes or fills an
engine treats it as a model that is passed through.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

from torch import Tensor

from evomerge.errors import MergeError
from evomerge.headers import TensorInfo
from evomerge.layout import CheckpointIndex, layer_of
from evomerge.merging.calibrated import Calibrated
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.statistics import StatisticsCache
from evomerge.methods import Method
from evomerge.methods.base import Value
from evomerge.recipe import Recipe, Source, evaluate, position_in_slice

Make = Callable[[str], Tensor]
"""A tensor by name, fp32 or as it is stored."""


class RebuiltCheckpoint(Checkpoint):
    """A model that a method makes; `mark` names it among all there are."""

    def __init__(self, index: CheckpointIndex, make: Make, mark: str) -> None:
        super().__init__(index)
        self._make, self._mark = make, mark

    def tensor(self, info: TensorInfo) -> Tensor:
        return self._make(info.name)

    def release(self) -> None:
        """Nothing is mapped here."""

    def fingerprint(self, info: TensorInfo) -> str:
        return repr((self._mark, info.name))


@dataclass(frozen=True)
class Request:
    """What a method makes a model of.

    models: by name, in the recipe's vocabulary. statistics: opens what was measured of them.
    """

    recipe: Recipe
    method: Method
    models: Mapping[str, Checkpoint]
    cache: StatisticsCache
    statistics: Callable[[], Calibrated]
    notify: Callable[[str], None]

    @property
    def names(self) -> tuple[str, ...]:
        """The models that are merged, in file order."""
        return tuple(source.model for source in self.recipe.models or ())

    @property
    def shared(self) -> dict[str, Value]:
        """The parameters that hold everywhere."""
        own = [one.name for one in self.method.parameters if not one.per_model]
        return {name: self.value(name, "", 0.0) for name in own}

    def value(self, name: str, place: str, position: float) -> Value:
        """A parameter at a place (a name that filters see); the default where no rule matches."""
        found = evaluate(self.recipe.parameters.get(name, ()), place, position)
        parameter = self.method.parameter(name)
        assert parameter is not None
        value = parameter.default if found is None else found
        if value is None:
            raise MergeError(
                f"no rule gives {name} a value for {place or 'all tensors'}",
                remedy=f"add a last rule without a filter to {name}",
            )
        return value

    def in_layer(self, name: str, place: str, layers: int) -> Value:
        """The same for a place within a layer: gradients run over the layers."""
        layer = layer_of(f"{place}.")
        return self.value(name, place, position_in_slice(layer or 0, layers))


def needed_by(recipe: Recipe, method: Method) -> tuple[str, ...]:
    """The statistics that a method needs which makes a whole model."""
    request = Request(recipe, method, {}, StatisticsCache(on_disk=False), _nothing, print)
    return method.statistics(request.shared) if method.statistics is not None else ()


def _nothing() -> Calibrated:
    raise AssertionError("nothing is read here")


Build = Callable[[Request], RebuiltCheckpoint]


def lowered(recipe: Recipe, name: str) -> Recipe:
    """The recipe that passes the rebuilt model of that name through."""
    changed: dict[str, Any] = {
        "merge_method": "passthrough",
        "base_model": None,
        "models": (Source(model=name),),
        "parameters": {},
        "align": None,
        "calibration": None,
    }
    return recipe.model_copy(update=changed)


def index_of(
    model: CheckpointIndex,
    shapes: Mapping[str, tuple[int, ...]],
    config: Mapping[str, Any],
    dtypes: Mapping[str, str] = MappingProxyType({}),
) -> CheckpointIndex:
    """The headers of a model with other tensors; dtypes are those of the tensors it is made from."""
    tensors = dict(_infos(model, shapes, dtypes))
    return replace(model, config=dict(config), tensors=tensors, parts=())


def _infos(
    model: CheckpointIndex, shapes: Mapping[str, tuple[int, ...]], dtypes: Mapping[str, str]
) -> Iterator[tuple[str, TensorInfo]]:
    for name, shape in shapes.items():
        dtype = dtypes.get(name, model_dtype(model))
        known = model.tensors.get(name) or TensorInfo(name, dtype, shape, Path(), 0, 0)
        yield name, replace(known, shape=shape)


def model_dtype(model: CheckpointIndex) -> str:
    """The dtype that most bytes are stored in, as safetensors spells it."""
    sizes: dict[str, int] = {}
    for info in model.tensors.values():
        sizes[info.dtype] = sizes.get(info.dtype, 0) + info.end - info.start
    return max(sizes, key=lambda dtype: sizes[dtype])
