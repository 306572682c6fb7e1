"""mergekit's YAML in and out: text to `Recipe`, with errors that name file and line, and back.

Grammar: METHODS in `docs/recipes.md`, read from mergekit 0.1.5. What evomerge cannot do yet is
refused by name, never skipped. Torch-free.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from evomerge.errors import RecipeError, did_you_mean
from evomerge.merging.validate import setting_problems, validate
from evomerge.methods import Method, get_method
from evomerge.recipe import (
    Recipe,
    Rule,
    Scalar,
    Setting,
    Settings,
    Slice,
    Source,
    Tokenizer,
    Value,
    to_config,
)

_KEYS = (
    "merge_method",
    "base_model",
    "models",
    "slices",
    "parameters",
    "dtype",
    "out_dtype",
    "tokenizer_source",
    "tokenizer",
    "chat_template",
    "random_seed",
)
_WITHOUT_EFFECT = {"task_arithmetic": {"density", "rescale"}}
"""Parameters that mergekit reads for a method and never uses."""


def load_recipe(path: Path) -> Recipe:
    """Read a mergekit configuration. Raises RecipeError naming file and line."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"cannot be read ({error})", where=str(path), remedy="check the path"
        ) from error
    return parse_recipe(text, str(path))


def parse_recipe(text: str, file: str = "recipe") -> Recipe:
    """Read a mergekit configuration from `text`; `file` is what errors call it.

    Raises RecipeError for one mistake, Problems for several.
    """
    try:
        recipe = _Reader(file).recipe(_parse(text, file))
    except ValidationError as error:
        first = error.errors()[0]
        raise RecipeError(first["msg"].removeprefix("Value error, "), where=file) from error
    validate(recipe, file)
    return recipe


def dump_recipe(recipe: Recipe) -> str:
    """The recipe as mergekit YAML; `parse_recipe` gives the same recipe back."""
    yaml = YAML()
    yaml.width = 10_000
    yaml.indent(mapping=2, sequence=4, offset=2)
    out = io.StringIO()
    yaml.dump(_flow(to_config(recipe)), out)
    return out.getvalue()


def _flow(node: Any) -> Any:
    """Lists of numbers on one line."""
    if isinstance(node, dict):
        return {key: _flow(value) for key, value in node.items()}
    if not isinstance(node, list):
        return node
    items = CommentedSeq([_flow(item) for item in node])
    if all(isinstance(item, int | float) for item in node):
        items.fa.set_flow_style()
    return items


def _parse(text: str, file: str) -> CommentedMap:
    try:
        documents = list(YAML().load_all(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark
        where = f"{file}:{mark.line + 1}" if mark else file
        raise RecipeError(
            f"not valid YAML: {error.problem}", where=where, remedy="check indentation and quotes"
        ) from error
    except YAMLError as error:
        raise RecipeError(f"not valid YAML: {error}", where=file) from error
    if len(documents) != 1 or not isinstance(documents[0], CommentedMap):
        found = f"{len(documents)} documents" if len(documents) > 1 else "no mapping"
        raise RecipeError(
            f"holds {found}; a merge configuration is one mapping",
            where=file,
            remedy="put each merge into a file of its own",
        )
    return documents[0]


class _Reader:
    """Walks the YAML tree; every refusal knows its line."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.method: Method = get_method("linear")

    def recipe(self, top: CommentedMap) -> Recipe:
        self._refuse(top, "modules", "merges of several modules")
        self._known(top, _KEYS)
        if (top.get("models") is None) == (top.get("slices") is None):
            raise self._error(top, None, "give exactly one of models and slices", "remove one")
        self.method = self._method(top)
        return Recipe(
            merge_method=self.method.name,
            base_model=self._model(top, "base_model"),
            models=self._models(top),
            slices=self._slices(top),
            parameters=self._settings(top),
            dtype=self._text(top, "dtype"),
            out_dtype=self._text(top, "out_dtype"),
            tokenizer=self._tokenizer(top),
            chat_template=self._text(top, "chat_template"),
            seed=self._seed(top),
        )

    def _method(self, top: CommentedMap) -> Method:
        name = self._text(top, "merge_method")
        if name is None:
            raise self._error(top, None, "merge_method is missing", "add merge_method: ties")
        return get_method(name, self._where(top, "merge_method"))

    def _models(self, top: CommentedMap) -> tuple[Source, ...] | None:
        if top.get("models") is None:
            return None
        entries = self._maps(top, "models", ("model", "parameters"))
        return tuple(
            Source(model=self._need_model(e), parameters=self._settings(e)) for e in entries
        )

    def _slices(self, top: CommentedMap) -> tuple[Slice, ...] | None:
        if top.get("slices") is None:
            return None
        keys = ("sources", "base_model", "parameters", "residual_weight")
        return tuple(
            Slice(
                sources=tuple(self._slice_source(source) for source in self._sources(part)),
                base_model=self._model(part, "base_model"),
                parameters=self._settings(part),
            )
            for part in self._maps(top, "slices", keys)
        )

    def _sources(self, part: CommentedMap) -> Iterator[CommentedMap]:
        return self._maps(part, "sources", ("model", "layer_range", "parameters"))

    def _slice_source(self, node: CommentedMap) -> Source:
        span = node.get("layer_range")
        whole = isinstance(span, list) and len(span) == 2
        if not whole or not all(isinstance(x, int) for x in span):
            problem = "layer_range is missing" if span is None else f"layer_range is {span!r}"
            raise self._error(node, "layer_range", problem, "write layer_range: [0, 16]")
        return Source(
            model=self._need_model(node),
            layer_range=(int(span[0]), int(span[1])),
            parameters=self._settings(node),
        )

    def _need_model(self, node: CommentedMap) -> str:
        model = self._model(node, "model")
        if model is None:
            raise self._error(node, None, "model is missing", "add model: PATH")
        return model

    def _model(self, node: CommentedMap, key: str) -> str | None:
        value = node.get(key)
        if isinstance(value, Mapping):
            value = self._model_mapping(value)
        if value is not None and not isinstance(value, str):
            raise self._error(node, key, f"{key} is {value!r}", "write a path or a hub id")
        if isinstance(value, str) and "+" in value:
            raise self._error(
                node,
                key,
                f"{value!r} adds a LoRA adapter, which is not supported yet",
                "fold the adapter into a checkpoint first (and rename a folder with + in its name)",
            )
        return value

    def _model_mapping(self, node: Mapping[str, Any]) -> str:
        self._refuse(node, "lora", "LoRA adapters")
        self._refuse(node, "override_architecture", "overriding the architecture")
        inner = node.get("model", node)
        if isinstance(inner, str):
            return inner
        self._known(inner, ("path", "revision"))
        revision = inner.get("revision")
        return f"{inner.get('path')}@{revision}" if revision else f"{inner.get('path')}"

    def _tokenizer(self, top: CommentedMap) -> Tokenizer | None:
        key, source = "tokenizer_source", top.get("tokenizer_source")
        if isinstance(top.get("tokenizer"), Mapping):
            key, block = "tokenizer", top["tokenizer"]
            self._refuse(block, "tokens", "per-token sources")
            self._refuse(block, "pad_to_multiple_of", "padding of vocabularies")
            self._known(block, ("source",))
            source = block.get("source")
        if source == "union":
            raise self._error(
                top,
                key,
                "a union of vocabularies is not supported yet",
                "use base, or a model with the same vocabulary",
            )
        return None if source is None else Tokenizer(source=str(source))

    def _seed(self, top: CommentedMap) -> int:
        seed = top.get("random_seed") or 0
        if not isinstance(seed, int) or isinstance(seed, bool):
            raise self._error(
                top, "random_seed", f"random_seed is {seed!r}", "write a whole number"
            )
        return int(seed)

    def _settings(self, node: CommentedMap) -> Settings:
        block = node.get("parameters")
        if block is None:
            return {}
        if not isinstance(block, CommentedMap):
            raise self._error(
                node, "parameters", "parameters is not a mapping", "write NAME: VALUE"
            )
        ignored = _WITHOUT_EFFECT.get(self.method.name, set())
        return {name: self._setting(block, name) for name in block if name not in ignored}

    def _setting(self, block: CommentedMap, name: str) -> Setting:
        value = block[name]
        if isinstance(value, Mapping):
            setting: Setting = (self._rule(block, name, value),)
        elif isinstance(value, list) and any(isinstance(item, Mapping) for item in value):
            setting = tuple(self._rule(block, name, item) for item in value)
        else:
            setting = (Rule(value=self._value(block, name, value)),)
        for problem in setting_problems(self.method, name, setting, self._where(block, name)):
            raise problem
        return setting

    def _rule(self, block: CommentedMap, name: str, node: Any) -> Rule:
        if not isinstance(node, Mapping) or "value" not in node:
            raise self._error(
                block, name, f"{name} has a rule without value", "{filter: F, value: V}"
            )
        self._known(node, ("filter", "value"))
        filtered = node.get("filter")
        value = self._value(block, name, node["value"])
        return Rule(filter=None if filtered in {None, "*"} else str(filtered), value=value)

    def _value(self, block: CommentedMap, name: str, value: Any) -> Value:
        if isinstance(value, list):
            return tuple(float(self._scalar(block, name, item)) for item in value)
        return self._scalar(block, name, value)

    def _scalar(self, block: CommentedMap, name: str, value: Any) -> Scalar:
        parameter = self.method.parameter(name)
        if isinstance(value, bool) or (parameter is not None and parameter.kind == "choice"):
            return value if isinstance(value, bool) else str(value)
        try:
            return float(value)
        except (TypeError, ValueError):
            raise self._error(
                block, name, f"{name} is {value!r}", "write a number, a list or {filter, value}"
            ) from None

    def _text(self, node: CommentedMap, key: str) -> str | None:
        value = node.get(key)
        if value is not None and not isinstance(value, str):
            raise self._error(node, key, f"{key} is {value!r}", "write it as text")
        return value

    def _maps(self, node: CommentedMap, key: str, known: Sequence[str]) -> Iterator[CommentedMap]:
        entries = node.get(key)
        if not isinstance(entries, list) or not entries:
            raise self._error(node, key, f"{key} is not a list of mappings", f"write {key}: [...]")
        for entry in entries:
            if not isinstance(entry, CommentedMap):
                raise self._error(
                    node, key, f"{key} has the entry {entry!r}", "write - model: PATH"
                )
            self._known(entry, known)
            yield entry

    def _known(self, node: Mapping[str, Any], known: Sequence[str]) -> None:
        for key in node:
            if key not in known:
                remedy = did_you_mean(str(key), list(known))
                raise self._error(node, key, f"unknown key {key!r}", remedy)

    def _refuse(self, node: Mapping[str, Any], key: str, what: str) -> None:
        if node.get(key) is not None:
            remedy = f"remove {key}"
            raise self._error(node, key, f"{key}: {what} is not supported yet", remedy)

    def _error(self, node: Any, key: Any, message: str, remedy: str) -> RecipeError:
        return RecipeError(message, where=self._where(node, key), remedy=remedy)

    def _where(self, node: Any, key: Any) -> str:
        marks = getattr(node, "lc", None)
        if marks is None:
            return self.file
        line = marks.key(key)[0] if marks.data and key in marks.data else marks.line
        return f"{self.file}:{line + 1}"
