"""`SpaceSpec`: the `space:` block of a search file."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ConfigDict, Field, ValidationError, model_validator
from pydantic_core import InitErrorDetails

from evomerge.methods import get_method
from evomerge.recipe import Frozen
from evomerge.space.across import Across
from evomerge.space.checks import parameter_problems, problem
from evomerge.space.layers import LayersSpec
from evomerge.space.schema import spell_out_parameters
from evomerge.space.searched import Choice, Fixed, MethodField, ParameterField, Range, Searched

STACKING = "passthrough"
"""The method whose layers can be searched."""


class SpaceSpec(Frozen):
    """A method, its searched parameters, its fixed ones; or the layers that shall be stacked.

    Keys other than the ones below are parameters of the method, as METHODS declares them.
    `seed` feeds random masks (DARE): one for the whole search, so that a recipe has one fitness.
    """

    model_config = ConfigDict(json_schema_extra=spell_out_parameters)

    method: MethodField
    layer_groups: int = Field(1, ge=1)
    across_layers: Across = "step"
    seed: int = 0
    layers: LayersSpec | None = None
    parameters: dict[str, ParameterField] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _gather_parameters(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        own = {key: value for key, value in data.items() if key in cls.model_fields}
        rest = {key: value for key, value in data.items() if key not in cls.model_fields}
        return {**own, "parameters": {**own.get("parameters", {}), **rest}}

    @model_validator(mode="after")
    def _parameters_exist(self) -> "SpaceSpec":
        problems = list(self._problems())
        if problems:
            raise ValidationError.from_exception_data("space", problems)
        return self

    def _problems(self) -> Iterator[InitErrorDetails]:
        """Everything wrong, each at its own place in the file."""
        if self.layers is None:
            keys = [key for key in type(self).model_fields if key != "parameters"]
            names = (self.method,) if isinstance(self.method, str) else self.method.choice
            yield from parameter_problems(names, self.parameters, keys)
            return
        if self.method != STACKING:
            what = f"layers are stacked by {STACKING}, not by {' or '.join(self.methods)}"
            yield problem(("method",), what, f"write `method: {STACKING}`, or remove `layers`")
        for name in self.parameters:
            what = f"a search over layers takes no {name!r} beside `layers`"
            remedy = "remove it; factors of inputs are searched with `layers: {scale: {range: …}}`"
            yield problem(("parameters", name), what, remedy)

    @property
    def methods(self) -> tuple[str, ...]:
        """The method, or all of the choice."""
        if isinstance(self.method, Choice):
            return tuple(str(option) for option in self.method.choice)
        return (self.method,)

    @property
    def values(self) -> Mapping[str, Searched | Fixed]:
        """The parameters, whole numbers known as such from the methods' declarations."""
        return {name: self._typed(name, value) for name, value in self.parameters.items()}

    def _typed(self, name: str, value: Searched | Fixed) -> Searched | Fixed:
        found = [get_method(method).parameter(name) for method in self.methods]
        whole = any(parameter is not None and parameter.kind == "int" for parameter in found)
        if isinstance(value, Range) and whole and not value.integer:
            return value.model_copy(update={"integer": True})
        return value
