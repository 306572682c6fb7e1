"""`SearchSpace`: the way from a genome in [0, 1]^D to a recipe, and back where there is one.

Every searched parameter says its range, its scale and its granularity: per model, per layer group,
per tensor kind. A recipe is mergekit's grammar, so a decoded genome is too: layer groups become
per-layer lists, kinds become filters. Embeddings and head get genes of their own as soon as layers
or kinds are told apart (mergekit would give them the first layer's value).
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import (
    ConfigDict,
    Discriminator,
    Field,
    FiniteFloat,
    StrictBool,
    Tag,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from evomerge.errors import RecipeError, did_you_mean
from evomerge.layout import KIND_FILTERS, CheckpointIndex, kind_of, layer_of
from evomerge.methods import METHODS, Parameter, get_method
from evomerge.recipe import Frozen, Recipe, Rule, Setting, Source, Value, constant

Genome = NDArray[np.float64]
METHOD_GENE = "method"
OUTER_KINDS = ("embedding", "head")
"""Kinds outside the layers that get genes of their own; the final norm follows the last group."""
Per = Literal["model", "layer_group", "kind"]


class Range(Frozen):
    """A searched parameter. `step` rounds the value, so that equal recipes are found equal."""

    range: tuple[FiniteFloat, FiniteFloat]
    scale: Literal["linear", "log"] = "linear"
    per: tuple[Per, ...] = ()
    step: float | None = Field(None, gt=0)

    @model_validator(mode="after")
    def _ordered(self) -> "Range":
        low, high = self.range
        if not low < high:
            raise ValueError(f"range [{low:g}, {high:g}] is empty: write the smaller value first")
        if self.scale == "log" and low <= 0:
            raise ValueError(f"a log scale needs a range above 0, not [{low:g}, {high:g}]")
        if self.step is not None and self.step > high - low:
            raise ValueError(f"step {self.step:g} is wider than the range [{low:g}, {high:g}]")
        return self

    def decode(self, gene: float) -> float:
        """The value at `gene` in [0, 1]."""
        low, high = self.range
        share = min(max(gene, 0.0), 1.0)
        if self.scale == "log":
            value = math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
        else:
            value = low + share * (high - low)
        return self._rounded(value)

    def encode(self, value: float) -> float:
        """The gene of `value`, clipped into [0, 1]."""
        low, high = self.range
        if self.scale == "log":
            share = (math.log(max(value, low)) - math.log(low)) / (math.log(high) - math.log(low))
        else:
            share = (value - low) / (high - low)
        return min(max(share, 0.0), 1.0)

    def _rounded(self, value: float) -> float:
        if self.step is None:
            return float(f"{value:.6g}") + 0.0
        stepped = round(round(value / self.step) * self.step, 12) + 0.0  # + 0.0: no minus zero
        return min(max(stepped, self.range[0]), self.range[1])


class Choice(Frozen):
    """A categorical parameter; its gene is cut into equal parts, one for each option."""

    choice: tuple[str, ...] = Field(min_length=1)

    def decode(self, gene: float) -> str:
        """The option at `gene` in [0, 1]."""
        return self.choice[min(max(int(gene * len(self.choice)), 0), len(self.choice) - 1)]

    def encode(self, option: str) -> float:
        """The middle of the option's part, or of everything where it is none of them."""
        if option not in self.choice:
            return 0.5
        return (self.choice.index(option) + 0.5) / len(self.choice)


def _method_arm(value: object) -> str:
    return "str" if isinstance(value, str) else "Choice"


def _parameter_arm(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    return "Range" if isinstance(value, (Range, dict)) else "float"


MethodField = Annotated[
    Annotated[str, Tag("str")] | Annotated[Choice, Tag("Choice")], Discriminator(_method_arm)
]
ParameterField = Annotated[
    Annotated[Range, Tag("Range")]
    | Annotated[StrictBool, Tag("bool")]
    | Annotated[FiniteFloat, Tag("float")],
    Discriminator(_parameter_arm),
]
"""A searched parameter, or one value for the whole search."""


def _spell_out_parameters(schema: dict[str, Any]) -> None:
    """The JSON schema as files are written: parameters stand beside `method`."""
    value = schema["properties"].pop("parameters")["additionalProperties"]
    for method in METHODS.values():
        for parameter in method.parameters:
            schema["properties"][parameter.name] = {**value, "description": parameter.doc}


class SpaceSpec(Frozen):
    """The `space:` block of a search file: a method, its searched parameters, its fixed ones.

    Keys other than the ones below are parameters of the method, as METHODS declares them.
    `seed` feeds random masks (DARE): one for the whole search, so that a recipe has one fitness.
    """

    model_config = ConfigDict(json_schema_extra=_spell_out_parameters)

    method: MethodField
    layer_groups: int = Field(1, ge=1)
    across_layers: Literal["step", "linear"] = "step"
    seed: int = 0
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
        try:
            methods = [get_method(name) for name in self.methods]
        except RecipeError as error:
            yield _problem(("method",), error.message, error.remedy or "")
            return
        known = {parameter.name: parameter for method in methods for parameter in method.parameters}
        keys = [*known, *(key for key in type(self).model_fields if key != "parameters")]
        for name, value in self.parameters.items():
            place = ("parameters", name)
            if name not in known:
                what = f"{' and '.join(self.methods)} takes no {name!r}"
                yield _problem(place, what, did_you_mean(name, keys))
            elif found := _unfit(known[name], value):
                yield _problem(place, *found)
        for parameter in known.values():
            if parameter.required and parameter.name not in self.parameters:
                what = f"{' and '.join(self.methods)} needs {parameter.name} ({parameter.doc})"
                yield _problem(
                    (), what, f"add `{parameter.name}: {{range: [low, high]}}`, or a value"
                )

    @property
    def methods(self) -> tuple[str, ...]:
        return (self.method,) if isinstance(self.method, str) else self.method.choice


def _problem(place: tuple[str, ...], message: str, remedy: str) -> InitErrorDetails:
    # The message goes in as context: pydantic would take braces in it for fields.
    error = PydanticCustomError("space", "{message}", {"message": message, "remedy": remedy})
    return {"type": error, "loc": place, "input": None}


def _unfit(parameter: Parameter, value: Range | bool | float) -> tuple[str, str] | None:
    """Why `value` cannot be the parameter's, and the remedy; or None."""
    name = parameter.name
    if parameter.kind == "bool" and not isinstance(value, bool):
        return f"{name} is true or false", f"write `{name}: true` or `{name}: false`"
    if parameter.kind != "bool" and isinstance(value, bool):
        return f"{name} is a number", f"write `{name}: 0.5` or `{name}: {{range: [low, high]}}`"
    for end in value.range if isinstance(value, Range) else (value,):
        if not parameter.accepts(end):
            return f"{name} cannot be {end:g}", f"write a value {parameter.bounds}"
    if isinstance(value, Range) and "model" in value.per and not parameter.per_model:
        return f"{name} has one value for all models", "remove `model` from per"
    return None


@dataclass(frozen=True)
class Gene:
    """One coordinate of the genome; `site` is a layer group (int), an outer kind, or neither."""

    parameter: str
    model: str | None = None
    kind: str | None = None
    group: int | None = None

    @property
    def label(self) -> str:
        group = None if self.group is None else f"group {self.group}"
        inside = ", ".join(place for place in (self.model, self.kind, group) if place)
        return f"{self.parameter}[{inside}]" if inside else self.parameter


class SearchSpace:
    """A space spec bound to one base model and its fine-tunes.

    Args:
        spec: the `space:` block.
        base_model, models: as they shall appear in recipes.
        index: headers of the base checkpoint; says how many layers and kinds there are.
        dtype: output dtype written into every recipe; None for the base's own.
    """

    def __init__(
        self,
        spec: SpaceSpec,
        base_model: str,
        models: tuple[str, ...],
        index: CheckpointIndex,
        dtype: str | None = None,
    ) -> None:
        self.spec = spec
        self.base_model = base_model
        self.models = models
        self.index = index
        self.dtype = dtype
        self.groups = min(spec.layer_groups, max(index.num_layers, 1))
        self.genes = tuple(self._all_genes())
        self._place = {gene: place for place, gene in enumerate(self.genes)}
        self._inner_tensors = tuple(name for name in index.tensors if layer_of(name) is not None)

    @property
    def dimension(self) -> int:
        return len(self.genes)

    def decode(self, genome: Genome) -> Recipe:
        """The recipe of a genome in [0, 1]^D. Raises ValueError on another length."""
        if len(genome) != self.dimension:
            raise ValueError(f"a genome of {len(genome)} genes for a space of {self.dimension}")
        method = get_method(self._method(genome))
        names = [p.name for p in method.parameters if p.name in self.spec.parameters]
        shared = [name for name in names if not _per_model(method.name, name)]
        own = [name for name in names if _per_model(method.name, name)]
        sources = tuple(
            Source(model=model, parameters={n: self._setting(n, model, genome) for n in own})
            for model in self._merged_models(method.base)
        )
        return Recipe(
            merge_method=method.name,
            base_model=self.base_model,
            models=sources,
            parameters={name: self._setting(name, None, genome) for name in shared},
            dtype=self.dtype,
            seed=self.spec.seed,
        )

    def encode(self, values: Mapping[str, float | Mapping[str, float]], method: str = "") -> Genome:
        """A genome near the given parameter values: a start for a search.

        Args:
            values: `{parameter: value}` or `{parameter: {model: value}}`; what is not named starts
                at the method's default, or in the middle of its range.
            method: chosen where the space lets the method vary.
        """
        genes = np.full(self.dimension, 0.5)
        for place, gene in enumerate(self.genes):
            genes[place] = self._encode_gene(gene, values, method)
        return genes

    def _encode_gene(
        self, gene: Gene, values: Mapping[str, float | Mapping[str, float]], method: str
    ) -> float:
        if gene.parameter == METHOD_GENE:
            assert isinstance(self.spec.method, Choice)
            return self.spec.method.encode(method)
        searched = self.spec.parameters[gene.parameter]
        assert isinstance(searched, Range)
        value = values.get(gene.parameter)
        if isinstance(value, Mapping):
            given = [value[model] for model in self.models if model in value]
            value = value.get(gene.model, given[0]) if gene.model and given else None
        if value is None:
            value = _default(self.spec.methods[0], gene.parameter, searched)
        return searched.encode(value)

    def _method(self, genome: Genome) -> str:
        if isinstance(self.spec.method, str):
            return self.spec.method
        return self.spec.method.decode(float(genome[0]))

    def _merged_models(self, base: str) -> tuple[str, ...]:
        return (self.base_model, *self.models) if base == "endpoint" else self.models

    def _all_genes(self) -> Iterator[Gene]:
        if isinstance(self.spec.method, Choice):
            yield Gene(METHOD_GENE)
        for name, searched in self.spec.parameters.items():
            if isinstance(searched, Range):
                models: tuple[str | None, ...] = self.models if "model" in searched.per else (None,)
                for model in models:
                    for kind, group in dict.fromkeys(self._sites(searched.per)):
                        yield Gene(name, model, kind, group)

    def _sites(self, per: tuple[Per, ...]) -> Iterator[tuple[str | None, int | None]]:
        groups = tuple(range(self.groups)) if "layer_group" in per else (None,)
        kinds = self.index.kinds if "kind" in per else (None,)
        yield from ((kind, group) for kind in kinds for group in groups)
        if not set(per) <= {"model"}:
            yield from ((kind, None) for kind in self._outer_kinds())

    def _outer_kinds(self) -> tuple[str, ...]:
        kinds = dict.fromkeys(kind_of(name) for name in self.index.outer_tensors)
        return tuple(kind for kind in kinds if kind in OUTER_KINDS)

    def _setting(self, name: str, model: str | None, genome: Genome) -> Setting:
        searched = self.spec.parameters[name]
        if not isinstance(searched, Range):
            return constant(searched)
        owner = model if "model" in searched.per else None

        def value(kind: str | None, group: int | None) -> float:
            return searched.decode(float(genome[self._place[Gene(name, owner, kind, group)]]))

        if set(searched.per) <= {"model"}:
            return constant(value(None, None))
        kinds = self.index.kinds if "kind" in searched.per else (None,)
        grouped = "layer_group" in searched.per
        inner = {kind: self._across_layers(kind, grouped, value) for kind in kinds}
        return (*self._outer_rules(inner, value), *_kind_rules(inner, self.index))

    def _across_layers(
        self, kind: str | None, grouped: bool, value: Callable[[str | None, int | None], float]
    ) -> Value:
        if not grouped:
            return value(kind, None)
        values = tuple(value(kind, group) for group in range(self.groups))
        if self.spec.across_layers == "linear" or len(values) == 1:
            return values if len(values) > 1 else values[0]
        layers = self.index.num_layers
        return tuple(values[layer * self.groups // layers] for layer in range(layers))

    def _outer_rules(
        self, inner: Mapping[str | None, Value], value: Callable[[str | None, int | None], float]
    ) -> Iterator[Rule]:
        for tensor in self.index.outer_tensors:
            if any(tensor in name for name in self._inner_tensors):
                continue  # its name as a filter would catch layers too ("norm.weight")
            kind = kind_of(tensor)
            if kind in OUTER_KINDS:
                yield Rule(filter=tensor, value=value(kind, None))
            else:
                near = inner.get(kind, next(iter(inner.values())))
                yield Rule(filter=tensor, value=near[-1] if isinstance(near, tuple) else near)


def _kind_rules(inner: Mapping[str | None, Value], index: CheckpointIndex) -> Iterator[Rule]:
    if None in inner:
        yield Rule(value=inner[None])
        return
    names = [name for name in index.tensors if layer_of(name) is not None]
    for kind, marks in KIND_FILTERS:
        if kind in inner:
            used = [mark for mark in marks if any(mark in name for name in names)]
            yield from (Rule(filter=mark or None, value=inner[kind]) for mark in used)


def _per_model(method: str, name: str) -> bool:
    parameter = METHODS[method].parameter(name)
    return parameter is not None and parameter.per_model


def _default(method: str, name: str, searched: Range) -> float:
    parameter = METHODS[method].parameter(name)
    default = parameter.default if parameter is not None else None
    low, high = searched.range
    if default is None or isinstance(default, str) or not low <= default <= high:
        return searched.decode(0.5)
    return float(default)
