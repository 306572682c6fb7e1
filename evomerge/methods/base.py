"""What a merge method is: a declaration of its parameters and the arithmetic on one tensor.

A method is declared once. YAML validation, search spaces, the JSON schema and the documentation
follow from the declaration. Nothing here imports torch: kernels use tensor methods only, so that
the controller, which never needs torch, can read the declarations.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal

Kind = Literal["float", "bool"]


@dataclass(frozen=True)
class Parameter:
    """One knob of a method.

    `per_model` parameters have a value for each model, the others one for each tensor.
    `low`..`high` is what is accepted; `search` is the range that is worth searching.
    """

    name: str
    doc: str
    default: float | bool | None = None
    per_model: bool = False
    kind: Kind = "float"
    low: float = float("-inf")
    high: float = float("inf")
    low_open: bool = False
    search: tuple[float, float] | None = None
    scale: Literal["linear", "log"] = "linear"

    @property
    def required(self) -> bool:
        return self.default is None

    def accepts(self, value: float) -> bool:
        """Whether `value` lies in the accepted range."""
        above = value > self.low if self.low_open else value >= self.low
        return above and value <= self.high


class Trim(StrEnum):
    """Which entries of a delta survive before the deltas are combined."""

    NONE = "none"
    MAGNITUDE = "magnitude"
    RANDOM = "random"


@dataclass(frozen=True)
class Method:
    """One merge method: declaration and kernel.

    base: `required` means deltas against it, `endpoint` that the base is one of the models merged
    (slerp), `optional` that it only supplies shapes and tokenizer (linear).
    min_models, max_models: how many models besides a `required` base.
    """

    name: str
    doc: str
    formula: str
    source: str
    parameters: tuple[Parameter, ...]
    kernel: Callable[..., Any]
    base: Literal["required", "optional", "endpoint"] = "optional"
    min_models: int = 1
    max_models: int | None = None
    trim: Trim = Trim.NONE

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of that name, or None."""
        return next((known for known in self.parameters if known.name == name), None)
