"""What a file can write for a parameter: a range of numbers, a choice of options, or one value.

Both map genes in [0, 1] to values and back. Everything that takes only a few values (options, whole
numbers, switches) cuts [0, 1] into equal parts, so that no value is more likely than another.
"""

import math
import re
from difflib import get_close_matches
from typing import Annotated, Literal

from pydantic import Discriminator, Field, FiniteFloat, StrictBool, Tag, model_validator

from evomerge.recipe import REGEX, Frozen, Scalar

Per = Literal["model", "layer_group", "kind", "filter", "tensor"]
KINDS_OF_PLACE = ("kind", "filter", "tensor")
"""Entries of `per` that divide a layer's tensors; a parameter has one of them at most."""


class Range(Frozen):
    """A searched number. `step` rounds the value, so that equal recipes are found equal.

    `integer` takes whole numbers only, each with an equal share of the gene. `filters` names groups
    of tensors for `per: [filter]`: the first one that matches a tensor's name is its own.
    """

    range: tuple[FiniteFloat, FiniteFloat]
    scale: Literal["linear", "log"] = "linear"
    per: tuple[Per, ...] = ()
    step: float | None = Field(None, gt=0)
    integer: bool = False
    filters: dict[str, str] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _mapping(cls, data: object) -> object:
        if not isinstance(data, dict | Range):
            raise ValueError("a range is written {range: [low, high]}")
        return data

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        low, high = self.range
        if not low < high:
            raise ValueError(f"range [{low:g}, {high:g}] is empty: write the smaller value first")
        if self.scale == "log" and low <= 0:
            raise ValueError(f"a log scale needs a range above 0, not [{low:g}, {high:g}]")
        if self.step is not None and self.step > high - low:
            raise ValueError(f"step {self.step:g} is wider than the range [{low:g}, {high:g}]")
        if self.integer and not (low.is_integer() and high.is_integer()):
            raise ValueError(f"integer needs whole numbers as ends, not [{low:g}, {high:g}]")
        if self.integer and self.step is not None:
            raise ValueError("integer values have a step of 1 already: remove step")
        return self

    @model_validator(mode="after")
    def _divided_in_one_way(self) -> "Range":
        ways = [way for way in KINDS_OF_PLACE if way in self.per]
        if len(ways) > 1:
            raise ValueError(f"per divides tensors by {' and by '.join(ways)}: keep one of them")
        if "filter" in self.per and not self.filters:
            raise ValueError('per: [filter] needs filters: {NAME: TEXT, …, rest: "*"}')
        if self.filters and "filter" not in self.per:
            raise ValueError("filters are used with per: [filter] only: add filter to per")
        for name, text in self.filters.items():
            _check_filter(name, text)
        return self

    @property
    def is_global(self) -> bool:
        """Whether all tensors share one value."""
        return set(self.per) <= {"model"}

    @property
    def cells(self) -> int:
        """How many values there are; 0 for a continuum."""
        return round(self.range[1] - self.range[0]) + 1 if self.integer else 0

    @property
    def extent(self) -> tuple[float, float]:
        """The lowest and the highest value."""
        return self.range

    def decode(self, gene: float) -> float:
        """The value at `gene` in [0, 1]."""
        low, high = self._ends
        share = min(max(gene, 0.0), 1.0)
        if self.scale == "log":
            value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            value = low + share * (high - low)
        return self.rounded(value)

    def encode(self, value: float) -> float:
        """The gene of `value`, clipped into [0, 1]."""
        low, high = self._ends
        if self.scale == "log":
            share = (math.log(max(value, low)) - math.log(low)) / (math.log(high) - math.log(low))
        else:
            share = (value - low) / (high - low)
        return min(max(share, 0.0), 1.0)

    def rounded(self, value: float) -> float:
        """`value` as recipes spell it: on the step, six digits otherwise, inside the range."""
        if self.integer:
            near = float(math.floor(value + 0.5))
        elif self.step is None:
            near = float(f"{value:.6g}")
        else:
            near = round(round(value / self.step) * self.step, 12)
        return min(max(near, self.range[0]), self.range[1]) + 0.0  # + 0.0: no minus zero

    @property
    def _ends(self) -> tuple[float, float]:
        """Whole numbers reach half a step further, so that the outermost have their full share."""
        half = 0.5 if self.integer else 0.0
        return self.range[0] - half, self.range[1] + half


def _check_filter(name: str, text: str) -> None:
    if not text.startswith(REGEX):
        return
    try:
        re.compile(text.removeprefix(REGEX))
    except re.error as error:
        raise ValueError(f"filter {name}: {text!r} is no regular expression ({error})") from error


def _option_arm(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    return "float" if isinstance(value, int | float) else "str"


Option = Annotated[
    Annotated[StrictBool, Tag("bool")]
    | Annotated[FiniteFloat, Tag("float")]
    | Annotated[str, Tag("str")],
    Discriminator(_option_arm),
]


class Choice(Frozen):
    """A categorical parameter; its gene is cut into equal parts, one for each option."""

    choice: tuple[Option, ...] = Field(min_length=1)

    @model_validator(mode="before")
    @classmethod
    def _mapping(cls, data: object) -> object:
        if not isinstance(data, dict | Choice):
            raise ValueError("options are written {choice: [one, other]}")
        return data

    @model_validator(mode="after")
    def _differ(self) -> "Choice":
        kinds = [(type(option), option) for option in self.choice]
        if len(set(kinds)) < len(kinds):
            raise ValueError("an option stands twice in choice: write each once")
        return self

    @property
    def cells(self) -> int:
        """How many options there are."""
        return len(self.choice)

    @property
    def extent(self) -> tuple[float, float]:
        """The lowest and the highest of numeric options."""
        numbers = [float(option) for option in self.choice if not isinstance(option, str)]
        return min(numbers, default=0.0), max(numbers, default=0.0)

    def decode(self, gene: float) -> Scalar:
        """The option at `gene` in [0, 1]."""
        return self.choice[min(max(int(gene * len(self.choice)), 0), len(self.choice) - 1)]

    def encode(self, option: Scalar) -> float:
        """The middle of the option's part, or of everything where it is none of them."""
        if option not in self.choice:
            return 0.5
        return (self.choice.index(option) + 0.5) / len(self.choice)


Searched = Range | Choice
Fixed = bool | float | str


def method_arm(value: object) -> str:
    """Which way of writing a method `value` is."""
    return "str" if isinstance(value, str) else "Choice"


def parameter_arm(value: object) -> str:
    """Which way of writing a parameter `value` is; a misspelt mapping is the one it is nearest to."""
    if isinstance(value, bool | str):
        return type(value).__name__
    if isinstance(value, Choice):
        return "Choice"
    if isinstance(value, list | tuple | Range):
        return "Range"
    if isinstance(value, dict):
        near = "range" not in value and get_close_matches("choice", map(str, value))
        return "Choice" if near else "Range"
    return "float"


MethodField = Annotated[
    Annotated[str, Tag("str")] | Annotated[Choice, Tag("Choice")], Discriminator(method_arm)
]
ParameterField = Annotated[
    Annotated[Range, Tag("Range")]
    | Annotated[Choice, Tag("Choice")]
    | Annotated[StrictBool, Tag("bool")]
    | Annotated[str, Tag("str")]
    | Annotated[FiniteFloat, Tag("float")],
    Discriminator(parameter_arm),
]
"""A searched parameter, or one value for the whole search."""
