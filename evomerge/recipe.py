"""`Recipe`: one fully specified merge, frozen; canonical JSON gives its id; mergekit YAML in and out.

A recipe is mergekit's configuration in one normal form: every setting is a tuple of rules, every
rule a filter and a scalar or a gradient over layers. What mergekit's grammar says, a recipe says
exactly, so that other tools read every candidate of a search. Grammar: `docs/recipes.md`.
"""

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    StrictBool,
    field_validator,
    model_validator,
)

Gradient = Annotated[tuple[FiniteFloat, ...], Field(min_length=1)]
Value = StrictBool | FiniteFloat | Gradient | str
"""A scalar, a gradient (numbers spread evenly from the first layer to the last), or a named option."""
Scalar = float | bool | str


class Frozen(BaseModel):
    """Immutable, and refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid")


CONFIG_FILE = "mergekit_config.yml"
"""What a merged model's folder calls its recipe, as mergekit has it."""
REGEX = "re:"
"""Marks a filter as a regular expression; mergekit has substrings only."""


class Rule(Frozen):
    """`value` for tensors whose name contains `filter`; None matches all.

    A filter `re:…` is a regular expression searched for. `*` and the empty one become None.
    """

    filter: str | None = None
    value: Annotated[Value, Field(union_mode="left_to_right")]

    @field_validator("filter")
    @classmethod
    def _compiles(cls, text: str | None) -> str | None:
        if text in {None, "", "*"}:
            return None
        if text is not None and text.startswith(REGEX):
            try:
                re.compile(text.removeprefix(REGEX))
            except re.error as error:
                raise ValueError(f"filter {text!r} is no regular expression: {error}") from error
        return text

    def matches(self, tensor: str) -> bool:
        """Whether the rule speaks of the tensor of that name."""
        if self.filter is None:
            return True
        pattern = self.filter.removeprefix(REGEX)
        return bool(re.search(pattern, tensor)) if pattern != self.filter else pattern in tensor


Setting = tuple[Rule, ...]
"""Rules in order: the first one that matches a tensor wins."""
Settings = dict[str, Setting]


class Source(Frozen):
    """One model's part in a merge; `layer_range` is half open, and None means all layers."""

    model: str
    layer_range: tuple[int, int] | None = None
    parameters: Settings = Field(default_factory=dict)


class Slice(Frozen):
    """A run of output layers made from equally long runs of the sources' layers."""

    sources: tuple[Source, ...]
    base_model: str | None = None
    parameters: Settings = Field(default_factory=dict)


class Module(Frozen):
    """One part of a model with layers of its own (text, vision): models or slices, and parameters."""

    models: tuple[Source, ...] | None = None
    slices: tuple[Slice, ...] | None = None
    parameters: Settings = Field(default_factory=dict)


class Token(Frozen):
    """Where a token's row of the embedding comes from, in models that lack it (or all, if `force`).

    `model` alone: that model's row of the same token. With `token` or `token_id`: its row of that
    one. None: a row of zeros.
    """

    model: str | None = None
    token: str | None = None
    token_id: int | None = Field(None, ge=0)
    force: bool = False

    @model_validator(mode="after")
    def _one_token_of_a_model(self) -> "Token":
        named = (self.token is not None) + (self.token_id is not None)
        if named and self.model is None:
            raise ValueError("a token's row comes from a model: name it")
        if named > 1:
            raise ValueError("give one of token and token_id")
        return self


class Tokenizer(Frozen):
    """The merged model's tokenizer: `source` is `base`, `union` or a model."""

    source: str = "union"
    tokens: dict[str, Token] = Field(default_factory=dict)
    pad_to_multiple_of: int | None = Field(None, ge=1)


class Calibration(Frozen):
    """The texts on which a method's statistics of the models are measured.

    data: a .jsonl or .txt file for all models, or `set:ID`, a set that is kept under its content.
    own: files of single models, by name or the last part of it. examples: at most so many a model;
    max_length: tokens of each.
    """

    data: str | None = None
    own: dict[str, str] = Field(default_factory=dict)
    examples: int = Field(256, gt=0)
    max_length: int = Field(512, ge=2)

    @model_validator(mode="before")
    @classmethod
    def _file_alone(cls, value: Any) -> Any:
        return {"data": value} if isinstance(value, str) else value


class Recipe(Frozen):
    """One merge. Exactly one of `models`, `slices` and `modules` is given.

    A model is a path or a hub id, `name[@revision]`, perhaps with an adapter: `name+adapter`.

    `seed` feeds random masks (DARE); `dtype` is None for the base model's own. Arithmetic is fp32
    whatever the dtype, and is rounded once. `align` (permutation, activations) brings the units of all
    models into the order of the base's, or the first one's, before they are merged. `coefficients` is
    the file that a method has learned (dam).
    """

    merge_method: str
    base_model: str | None = None
    models: tuple[Source, ...] | None = None
    slices: tuple[Slice, ...] | None = None
    modules: dict[str, Module] | None = None
    parameters: Settings = Field(default_factory=dict)
    dtype: str | None = None
    out_dtype: str | None = None
    tokenizer: Tokenizer | None = None
    chat_template: str | None = None
    calibration: Calibration | None = None
    align: str | None = None
    coefficients: str | None = None
    seed: int = 0

    @model_validator(mode="after")
    def _models_or_slices(self) -> "Recipe":
        if sum(part is not None for part in (self.models, self.slices, self.modules)) != 1:
            raise ValueError("give exactly one of models, slices and modules")
        return self

    @property
    def output_dtype(self) -> str | None:
        return self.out_dtype or self.dtype

    def canonical_json(self) -> str:
        """The one spelling of this recipe: sorted keys, no spaces, defaults left out."""
        content = self.model_dump(mode="json", exclude_defaults=True)
        return json.dumps(content, sort_keys=True, separators=(",", ":"))

    @property
    def recipe_id(self) -> str:
        """16 hex digits of the SHA-256 of the canonical JSON."""
        return hashlib.sha256(self.canonical_json().encode()).hexdigest()[:16]

    @property
    def parts(self) -> "tuple[Recipe | Module, ...]":
        """Whatever can list models or slices: the recipe, then its modules by name."""
        return (self, *(module for _, module in sorted((self.modules or {}).items())))

    def sources(self) -> Iterator[Source]:
        """Every source, in file order."""
        for part in self.parts:
            yield from part.models or ()
            for run in part.slices or ():
                yield from run.sources

    def all_models(self) -> tuple[str, ...]:
        """Every model named, base first, each once, in file order."""
        slices = [run for part in self.parts for run in part.slices or ()]
        bases = [self.base_model, *(run.base_model for run in slices)]
        named = [model for model in bases if model] + [source.model for source in self.sources()]
        return tuple(dict.fromkeys(named))


def constant(value: Scalar) -> Setting:
    """A setting with one value for every tensor."""
    return (Rule(value=value),)


def evaluate(setting: Setting, tensor: str, position: float) -> Scalar | None:
    """The value of `setting` for a tensor, or None where no rule matches.

    Args:
        tensor: full tensor name, which filters are matched against.
        position: where the layer lies in its slice: 0 for the first, 1 for the last; 0 for tensors
            outside the layers (as mergekit has it).
    """
    for rule in setting:
        if rule.matches(tensor):
            return interpolate(rule.value, position)
    return None


def interpolate(value: Value, position: float) -> Scalar:
    """A scalar as it is; a gradient piecewise linearly at `position` in [0, 1]."""
    if not isinstance(value, tuple):
        return value
    place = position * (len(value) - 1)
    left = min(int(place + 1e-9), len(value) - 1)
    share = place - left
    if share < 1e-9 or left + 1 == len(value):
        return value[left]
    return value[left] * (1 - share) + value[left + 1] * share


def position_in_slice(index: int, length: int) -> float:
    """mergekit's t: i / (n - 1) within a slice, 1 for a slice of one layer."""
    return index / (length - 1) if length > 1 else 1.0


def to_config(recipe: Recipe) -> dict[str, Any]:
    """The recipe as a mergekit configuration: plain dicts and lists in mergekit's key order."""
    config: dict[str, Any] = {"merge_method": recipe.merge_method}
    _put(config, "base_model", recipe.base_model)
    config.update(_part_config(recipe))
    for key in ("dtype", "out_dtype"):
        _put(config, key, getattr(recipe, key))
    config.update(_tokenizer_config(recipe.tokenizer) if recipe.tokenizer else {})
    _put(config, "chat_template", recipe.chat_template)
    if recipe.calibration is not None:
        config["calibration"] = _calibration_config(recipe.calibration)
    _put(config, "align", recipe.align)
    _put(config, "coefficients", recipe.coefficients)
    _put(config, "random_seed", recipe.seed or None)
    return config


def _calibration_config(calibration: Calibration) -> Any:
    """The file or set alone where it says all."""
    content = calibration.model_dump(exclude_defaults=True)
    return content["data"] if content.keys() == {"data"} else content


def _part_config(part: Recipe | Module) -> dict[str, Any]:
    config: dict[str, Any] = {}
    _put(config, "models", part.models and [_source_config(source) for source in part.models])
    _put(config, "slices", part.slices and [_slice_config(run) for run in part.slices])
    if isinstance(part, Recipe) and part.modules is not None:
        config["modules"] = {name: _part_config(inner) for name, inner in part.modules.items()}
    _put(config, "parameters", _settings_config(part.parameters))
    return config


def _tokenizer_config(tokenizer: Tokenizer) -> dict[str, Any]:
    """`tokenizer_source` where it says all, for tools that know no more."""
    if not tokenizer.tokens and tokenizer.pad_to_multiple_of is None:
        return {"tokenizer_source": tokenizer.source}
    tokens = {text: _token_config(token) for text, token in tokenizer.tokens.items()}
    block: dict[str, Any] = {"source": tokenizer.source, **({"tokens": tokens} if tokens else {})}
    _put(block, "pad_to_multiple_of", tokenizer.pad_to_multiple_of)
    return {"tokenizer": block}


def _token_config(token: Token) -> dict[str, Any]:
    source: Any = token.model or {"kind": "zero"}
    which = token.model_dump(include={"token", "token_id"}, exclude_none=True)
    if which:
        source = {"kind": "model_token", "model": token.model, **which}
    return {"source": source, **({"force": True} if token.force else {})}


def _put(config: dict[str, Any], key: str, value: Any) -> None:
    if value not in (None, {}):
        config[key] = value


def _source_config(source: Source) -> dict[str, Any]:
    config: dict[str, Any] = {"model": source.model}
    _put(config, "layer_range", source.layer_range and list(source.layer_range))
    _put(config, "parameters", _settings_config(source.parameters))
    return config


def _slice_config(part: Slice) -> dict[str, Any]:
    config: dict[str, Any] = {"sources": [_source_config(source) for source in part.sources]}
    _put(config, "base_model", part.base_model)
    _put(config, "parameters", _settings_config(part.parameters))
    return config


def _settings_config(settings: Settings) -> dict[str, Any]:
    return {name: _setting_config(setting) for name, setting in settings.items()}


def _setting_config(setting: Setting) -> Any:
    if len(setting) == 1 and setting[0].filter is None:
        return _value_config(setting[0].value)
    return [_rule_config(rule) for rule in setting]


def _rule_config(rule: Rule) -> dict[str, Any]:
    return {**({"filter": rule.filter} if rule.filter else {}), "value": _value_config(rule.value)}


def _value_config(value: Value) -> Any:
    return list(value) if isinstance(value, tuple) else value
