"""How mergekit's YAML names models and tokenizers, in the normal form that recipes have.

A model is `path[@revision][+adapter[@revision]]`, or a mapping that says the same. A tokenizer is a
source (`union`, `base` or a model) and, for single tokens, where their rows come from.
"""

from collections.abc import Mapping
from typing import Any

from evomerge.merging.yaml_nodes import Nodes
from evomerge.recipe import Token, Tokenizer


class ModelNodes(Nodes):
    """Reads references to models; `references` are all of them, with their lines."""

    def __init__(self, file: str) -> None:
        super().__init__(file)
        self.references: list[tuple[str, str]] = []

    def need_model(self, node: Mapping[str, Any], key: str = "model") -> str:
        """The model at `key`."""
        model = self.model(node, key)
        if model is None:
            raise self.error(node, None, f"{key} is missing", f"add {key}: PATH")
        return model

    def model(self, node: Mapping[str, Any], key: str) -> str | None:
        """The model at `key` as a recipe names it, or None."""
        value = node.get(key)
        if value is None:
            return None
        text = self._from_mapping(node, key, value) if isinstance(value, Mapping) else value
        if not isinstance(text, str) or not text.strip():
            raise self.error(node, key, f"{key} is {value!r}", "write a path or a hub id")
        self._check_signs(node, key, text)
        self.references.append((text, self.where(node, key)))
        return text

    def _check_signs(self, node: Mapping[str, Any], key: str, text: str) -> None:
        # A folder may have pluses in its name: whether it is one, only the disk knows.
        pieces = [part.split("@") for part in text.split("+")]
        halves = (pieces[0], pieces[-1])
        empty = any(not piece.strip() for part in halves for piece in part)
        if empty or any(len(part) > 2 for part in pieces):
            raise self.error(
                node,
                key,
                f"{text!r} names no model",
                "write MODEL@REVISION+ADAPTER@REVISION",
            )

    def _from_mapping(self, node: Mapping[str, Any], key: str, value: Mapping[str, Any]) -> str:
        if "model" not in value:
            return self._path(node, key, value)
        self.known(value, ("model", "lora", "override_architecture"))
        self.refuse(
            value,
            "override_architecture",
            "which tensors correspond is read from their names, so there is nothing to override",
            "remove it, and merge models whose tensors have the same names",
        )
        text = self._path(value, "model", value["model"])
        if value.get("lora") is None:
            return text
        return f"{text}+{self._path(value, 'lora', value['lora'])}"

    def _path(self, node: Mapping[str, Any], key: str, value: Any) -> str:
        """`path` or `path@revision`."""
        if isinstance(value, str) and value:
            return value
        if not isinstance(value, Mapping):
            raise self.error(node, key, f"{key} is {value!r}", "write a path or a hub id")
        self.known(value, ("path", "revision"))
        path, revision = self.text(value, "path"), self.text(value, "revision")
        if not path:
            raise self.error(value, None, "path is missing", "add path: PATH")
        return f"{path}@{revision}" if revision else path

    def tokenizer(self, top: Mapping[str, Any]) -> Tokenizer | None:
        """The `tokenizer` block, or the `tokenizer_source` that stands for one."""
        block = top.get("tokenizer")
        if block is None:
            source = self._tokenizer_source(top, "tokenizer_source")
            return None if source is None else Tokenizer(source=source)
        self.refuse(
            top,
            "tokenizer_source",
            "given beside tokenizer, which says the same",
            "remove one of the two",
        )
        block = self.mapping(top, "tokenizer", "tokenizer: {source: base}")
        self.known(block, ("source", "tokens", "pad_to_multiple_of"))
        return Tokenizer(
            source=self._tokenizer_source(block, "source") or "union",
            tokens=self._tokens(block),
            pad_to_multiple_of=self.whole(block, "pad_to_multiple_of", 1),
        )

    def _tokenizer_source(self, node: Mapping[str, Any], key: str) -> str | None:
        source = node.get(key)
        return str(source) if source in ("union", "base") else self.model(node, key)

    def _tokens(self, block: Mapping[str, Any]) -> dict[str, Token]:
        if block.get("tokens") is None:
            return {}
        tokens = self.mapping(block, "tokens", "tokens: {<|im_end|>: {source: MODEL}}")
        return {self._token_text(tokens, text): self._token(tokens, text) for text in tokens}

    def _token_text(self, tokens: Mapping[str, Any], text: Any) -> str:
        if not isinstance(text, str):
            raise self.error(tokens, text, f"the token {text!r} is no text", "put it into quotes")
        return text

    def _token(self, tokens: Mapping[str, Any], text: str) -> Token:
        node = self.mapping(tokens, text, "TOKEN: {source: MODEL}")
        self.known(node, ("source", "force"))
        force = node.get("force", False)
        if not isinstance(force, bool):
            raise self.error(node, "force", f"force is {force!r}", "write true or false")
        source = node.get("source")
        if source is None:
            raise self.error(tokens, text, f"the token {text!r} has no source", "add source: MODEL")
        if isinstance(source, Mapping) and "kind" in source:
            return self._kind_of_token(source, force)
        return Token(model=self.model(node, "source"), force=force)

    def _kind_of_token(self, source: Mapping[str, Any], force: bool) -> Token:
        if source["kind"] == "zero":
            self.known(source, ("kind",))
            return Token(force=force)
        if source["kind"] != "model_token":
            problem = f"kind is {source['kind']!r}"
            raise self.error(source, "kind", problem, "write zero or model_token")
        self.known(source, ("kind", "model", "token", "token_id"))
        token, number = self.text(source, "token"), self.whole(source, "token_id", 0)
        if (token is None) == (number is None):
            raise self.error(
                source, "kind", "model_token takes one of token and token_id", "write token: TEXT"
            )
        return Token(model=self.need_model(source), token=token, token_id=number, force=force)
