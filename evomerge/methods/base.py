"""What a merge method is: a declaration of its parameters and the arithmetic on one tensor.

A method is declared once. YAML validation, search spaces, the JSON schema and the documentation
follow from the declaration. Nothing here imports torch: kernels use tensor methods only, so that
the controller, which never needs torch, can read the declarations.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, NamedTuple

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

    @property
    def bounds(self) -> str:
        """The accepted range in words."""
        low = "above" if self.low_open else "at least"
        return f"{low} {self.low:g}, at most {self.high:g}"


class Trim(StrEnum):
    """Which entries of a delta survive before the deltas are combined."""

    NONE = "none"
    MAGNITUDE = "magnitude"
    RANDOM = "random"


class Inputs(NamedTuple):
    """What a kernel computes with: fp32 tensors of one chunk, C entries, and scalars as 0-d tensors.

    base_C: the base model, None for methods without one.
    models: what is combined, each [C]: deltas where the base is required, whole models otherwise.
    keeps: for each delta a boolean mask [C] of the entries that survive, None for all of them.
    weights: the models' weights. coefficients: weights times the rescaling of a trimmed delta.
    divisor: what the weighted sum is divided by, 1 where weights are not normalised.
    scale: lambda. normalize: whether an election divides by the weights that agreed.
    mixed_signs: whether some weight is negative, so that sums of weights can cancel.
    """

    base_C: Any
    models: Sequence[Any]
    keeps: Sequence[Any]
    weights: Sequence[Any]
    coefficients: Sequence[Any]
    divisor: Any
    scale: Any
    normalize: bool
    mixed_signs: bool


Kernel = Callable[[Inputs], Any]
"""One chunk of the merged tensor, fp32 [C]; changes none of its inputs."""


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
    kernel: Kernel
    base: Literal["required", "optional", "endpoint"] = "optional"
    min_models: int = 1
    max_models: int | None = None
    trim: Trim = Trim.NONE

    def parameter(self, name: str) -> Parameter | None:
        """The parameter of that name, or None."""
        return next((known for known in self.parameters if known.name == name), None)
