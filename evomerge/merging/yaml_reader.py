"""mergekit's grammar: from one YAML document to a `Recipe`. Read from mergekit 0.1.5.

What evomerge does not do is refused by name with its line, never skipped.
"""

import math
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from ruamel.yaml.comments import CommentedMap

from evomerge.errors import RecipeError
from evomerge.merging.chat_templates import check_template
from evomerge.merging.validate import setting_problems
from evomerge.merging.yaml_models import ModelNodes
from evomerge.methods import Method, get_method
from evomerge.recipe import (
    Calibration,
    Module,
    Recipe,
    Rule,
    Scalar,
    Setting,
    Settings,
    Slice,
    Source,
    Value,
)

_PARTS = ("models", "slices", "modules")
_KEYS = (
    "merge_method",
    "base_model",
    *_PARTS,
    "parameters",
    "dtype",
    "out_dtype",
    "tokenizer_source",
    "tokenizer",
    "chat_template",
    "calibration",
    "align",
    "coefficients",
    "random_seed",
    "name",
)
_WITHOUT_EFFECT = {"task_arithmetic": {"density", "rescale"}}
"""Parameters that mergekit reads for a method and never uses."""


class Reader(ModelNodes):
    """Walks the tree of one document."""

    def __init__(self, file: str) -> None:
        super().__init__(file)
        self.method: Method = get_method("linear")

    def recipe(self, top: CommentedMap) -> Recipe:
        """The document as a recipe. Raises RecipeError."""
        self.known(top, _KEYS)
        self._one_of(top, _PARTS)
        self.method = self._method(top)
        return Recipe(
            merge_method=self.method.name,
            base_model=self.model(top, "base_model"),
            models=self._models(top),
            slices=self._slices(top),
            modules=self._modules(top),
            parameters=self._settings(top),
            dtype=self.text(top, "dtype"),
            out_dtype=self.text(top, "out_dtype"),
            tokenizer=self.tokenizer(top),
            chat_template=self._chat_template(top),
            calibration=self._calibration(top),
            align=self.text(top, "align"),
            coefficients=self.text(top, "coefficients"),
            seed=self.whole(top, "random_seed", 0) or 0,
        )

    def _chat_template(self, top: CommentedMap) -> str | None:
        template = self.text(top, "chat_template")
        if template is not None:
            check_template(template, self.where(top, "chat_template"))
        return template

    def _calibration(self, top: CommentedMap) -> Calibration | None:
        """A file's name, or a mapping; not in mergekit's grammar."""
        if top.get("calibration") is None:
            return None
        try:
            return Calibration.model_validate(top["calibration"])
        except ValidationError as error:
            raise self.error(
                top,
                "calibration",
                f"calibration: {message_of(error)}",
                "write calibration: texts.jsonl, or {data, own, examples, max_length}",
            ) from error

    def _one_of(self, node: CommentedMap, keys: tuple[str, ...]) -> None:
        given = [key for key in keys if node.get(key) is not None]
        if len(given) != 1:
            listing = f"{', '.join(keys[:-1])} and {keys[-1]}"
            remedy = f"remove {' or '.join(given)}" if given else "add models: [...]"
            place = given[1] if given else None
            raise self.error(node, place, f"give exactly one of {listing}", remedy)

    def _method(self, top: CommentedMap) -> Method:
        name = self.text(top, "merge_method")
        if name is None:
            raise self.error(top, None, "merge_method is missing", "add merge_method: ties")
        return get_method(name, self.where(top, "merge_method"))

    def _modules(self, top: CommentedMap) -> dict[str, Module] | None:
        if top.get("modules") is None:
            return None
        modules = self.mapping(top, "modules", "modules: {NAME: {models: [...]}}")
        if not modules:
            raise self.error(top, "modules", "modules names none", "add NAME: {models: [...]}")
        return {str(name): self._module(modules, name) for name in modules}

    def _module(self, modules: CommentedMap, name: str) -> Module:
        node = self.mapping(modules, name, f"{name}: {{models: [...]}}")
        self.known(node, ("models", "slices", "parameters"))
        self._one_of(node, ("models", "slices"))
        return Module(
            models=self._models(node), slices=self._slices(node), parameters=self._settings(node)
        )

    def _models(self, top: CommentedMap) -> tuple[Source, ...] | None:
        if top.get("models") is None:
            return None
        entries = self.maps(top, "models", ("model", "parameters"))
        return tuple(
            Source(model=self.need_model(e), parameters=self._settings(e)) for e in entries
        )

    def _slices(self, top: CommentedMap) -> tuple[Slice, ...] | None:
        if top.get("slices") is None:
            return None
        keys = ("sources", "base_model", "parameters", "residual_weight")
        return tuple(
            Slice(
                sources=tuple(self._slice_source(source) for source in self._sources(part)),
                base_model=self.model(part, "base_model"),
                parameters=self._settings(part),
            )
            for part in self.maps(top, "slices", keys)
        )

    def _sources(self, part: CommentedMap) -> Iterator[CommentedMap]:
        return self.maps(part, "sources", ("model", "layer_range", "parameters"))

    def _slice_source(self, node: CommentedMap) -> Source:
        span = node.get("layer_range")
        whole = isinstance(span, list) and len(span) == 2
        if not whole or any(isinstance(x, bool) or not isinstance(x, int) for x in span):
            problem = "layer_range is missing" if span is None else f"layer_range is {span!r}"
            raise self.error(node, "layer_range", problem, "write layer_range: [0, 16]")
        return Source(
            model=self.need_model(node),
            layer_range=(int(span[0]), int(span[1])),
            parameters=self._settings(node),
        )

    def _settings(self, node: CommentedMap) -> Settings:
        if node.get("parameters") is None:
            return {}
        block = self.mapping(node, "parameters", "NAME: VALUE")
        ignored = _WITHOUT_EFFECT.get(self.method.name, set())
        return {name: self._setting(block, name) for name in block if name not in ignored}

    def _setting(self, block: CommentedMap, name: str) -> Setting:
        known = self.method.parameter(name) is not None
        setting = self._rules(block, name) if known else ()
        for problem in setting_problems(self.method, name, setting, self.where(block, name)):
            raise problem
        return setting

    def _rules(self, block: CommentedMap, name: str) -> Setting:
        value = block[name]
        if isinstance(value, Mapping):
            return (self._rule(block, name, value),)
        if isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            return tuple(self._rule(block, name, item) for item in value)
        return (self._checked_rule(block, name, None, value),)

    def _rule(self, block: CommentedMap, name: str, node: Any) -> Rule:
        if not isinstance(node, Mapping) or "value" not in node:
            raise self.error(
                block, name, f"{name} has a rule without value", "{filter: F, value: V}"
            )
        self.known(node, ("filter", "value"))
        return self._checked_rule(block, name, node.get("filter"), node["value"])

    def _checked_rule(self, block: CommentedMap, name: str, filtered: Any, value: Any) -> Rule:
        text = None if filtered is None else str(filtered)
        try:
            return Rule(filter=text, value=self._value(block, name, value))
        except ValidationError as error:
            raise RecipeError(
                f"{name}: {message_of(error)}",
                where=self.where(block, name),
                remedy="mend the filter: a part of a tensor's name, or re: and an expression",
            ) from error

    def _value(self, block: CommentedMap, name: str, value: Any) -> Value:
        if not isinstance(value, list):
            return self._scalar(block, name, value)
        if not value:
            raise self.error(block, name, f"{name} is an empty list", "write a number")
        scalars = [self._scalar(block, name, item) for item in value]
        if any(isinstance(item, str | bool) for item in scalars):
            raise self.error(
                block,
                name,
                f"{name} is a list of options, between which there is nothing",
                "write one option, or rules with filters: [{filter: F, value: V}, ...]",
            )
        return tuple(float(item) for item in scalars)

    def _scalar(self, block: CommentedMap, name: str, value: Any) -> Scalar:
        """A number, also one in quotes (`1e-5` is text to some writers); true, false, an option."""
        parameter = self.method.parameter(name)
        if isinstance(value, bool) or (parameter is not None and parameter.kind == "choice"):
            return value if isinstance(value, bool) else str(value)
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not math.isfinite(number):
            raise self.error(
                block, name, f"{name} is {value!r}", "write a number, a list or {filter, value}"
            )
        return number


def message_of(error: ValidationError) -> str:
    """The first thing that pydantic found, in its words."""
    return error.errors()[0]["msg"].removeprefix("Value error, ")
