"""Vocabularies of models: which token has which row, read from the files of their tokenizers."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomerge.errors import CheckpointError
from evomerge.layout import CheckpointIndex

Tokens = Mapping[str, int]
_SLOW = ("tokenizer.model", "spiece.model", "vocab.json", "vocab.txt")
"""Files of tokenizers without a tokenizer.json; transformers can convert them."""


@dataclass(frozen=True)
class Vocabulary:
    """A model's tokens and rows. `tokens` has those with a row; None where there is no tokenizer."""

    name: str
    rows: int
    tokens: Tokens | None

    def same_as(self, other: "Vocabulary") -> bool:
        """Whether rows mean the same in both, as far as can be known."""
        unknown = self.tokens is None or other.tokens is None
        return self.rows == other.rows and (unknown or self.tokens == other.tokens)


def vocabulary_of(name: str, index: CheckpointIndex) -> Vocabulary | None:
    """The vocabulary of a model; None where it has no embedding of tokens."""
    rows = index.vocabulary_rows
    if rows is None:
        return None
    tokens = read_tokens(index.tokenizer_folder)
    known = None if tokens is None else {t: place for t, place in tokens.items() if place < rows}
    return Vocabulary(name, rows, known)


def differing(one: Tokens, other: Tokens) -> list[str]:
    """The tokens that one of them lacks or has in another row, sorted."""
    return sorted(
        token for token in one.keys() | other.keys() if one.get(token) != other.get(token)
    )


def how_they_differ(base: Vocabulary, other: Vocabulary) -> str:
    """For people: by what a vocabulary is another one than the base's."""
    if base.tokens is None or other.tokens is None:
        return f"{other.rows} tokens, the base model {base.rows}"
    tokens = differing(base.tokens, other.tokens)
    sizes = f", and has {other.rows} rows instead of {base.rows}" if base.rows != other.rows else ""
    example = f", such as {tokens[0]!r}" if tokens else ""
    return f"differs from the base model's in {len(tokens)} tokens{example}{sizes}"


def has_tokenizer(folder: Path) -> bool:
    """Whether a folder holds a tokenizer."""
    return any((folder / name).is_file() for name in ("tokenizer.json", *_SLOW))


def read_tokens(folder: Path) -> dict[str, int] | None:
    """Token to row of a tokenizer, added tokens included; None where the folder has none."""
    if not has_tokenizer(folder):
        return None
    content = read_tokenizer(folder)
    if content is None:
        return dict(load_tokenizer(folder).get_vocab())
    listed = content.get("model", {}).get("vocab", {})
    tokens = listed if isinstance(listed, dict) else {t[0]: place for place, t in enumerate(listed)}
    added = {token["content"]: token["id"] for token in content.get("added_tokens", [])}
    return {**tokens, **added}


def read_tokenizer(folder: Path) -> dict[str, Any] | None:
    """tokenizer.json; None where there is none. Raises CheckpointError for a broken one."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"cannot be read as JSON ({error})", where=str(file), remedy="download it again"
        ) from error
    return content


def load_tokenizer(folder: Path) -> Any:
    """The tokenizer as transformers gives it. Raises CheckpointError where it cannot."""
    try:
        from transformers import AutoTokenizer

        return AutoTokenizer.from_pretrained(folder, use_fast=True)
    except Exception as error:  # transformers raises anything here
        raise CheckpointError(
            f"its tokenizer cannot be loaded: {str(error).strip().splitlines()[0]}",
            where=str(folder),
            remedy="save the tokenizer with its tokenizer.json beside the weights",
        ) from error
