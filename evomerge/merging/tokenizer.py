"""The tokenizer of a merge: a model's own files, or the base's with tokens added to it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from evomerge.errors import CheckpointError, RecipeError
from evomerge.headers import load_json
from evomerge.layout import TOKENIZER_FILES
from evomerge.merging.writer import copy_side_files, write_json
from evomerge.vocabulary import (
    Tokens,
    Vocabulary,
    load_tokenizer,
    read_tokenizer,
    read_tokens,
)

_STALE = (
    "tokenizer.model",
    "spiece.model",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "added_tokens.json",
)
"""What describes a vocabulary without the tokens that were added to it."""


@dataclass(frozen=True)
class OutputTokenizer:
    """tokens: those with a row; rows: of embedding and head.

    folder: where its files lie; extended: the tokenizer with tokens added, where there are any.
    foreign: whether it is another model's than the one that gives the config.
    """

    tokens: Tokens
    rows: int
    folder: Path
    extended: Any = None
    foreign: bool = False

    def write(self, out: Path) -> None:
        """Write the tokenizer's files into a model folder, and its special tokens' ids."""
        stale = _STALE if self.extended is not None else ()
        copy_side_files(self.folder, out, [name for name in TOKENIZER_FILES if name not in stale])
        if self.extended is not None:
            self.extended.save(str(out / "tokenizer.json"))
        file, special = out / "generation_config.json", self._special("generation_config.json")
        if file.is_file() and special:
            write_json(file, {**load_json(file), **special})

    def config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """config.json with this vocabulary's size and special tokens."""
        changed = dict(config)
        text = changed.get("text_config")
        if isinstance(text, dict) and "vocab_size" in text:
            changed["text_config"] = {**text, "vocab_size": self.rows}
        if "vocab_size" in changed or "vocab_size" not in (text or {}):
            changed["vocab_size"] = self.rows
        return {**changed, **self._special("config.json")}

    def _special(self, name: str) -> dict[str, Any]:
        """The ids of special tokens as the tokenizer's own model has them."""
        file = self.folder / name
        if not self.foreign or not file.is_file():
            return {}
        ids = {key: value for key, value in load_json(file).items() if key.endswith("_token_id")}
        return {key: value for key, value in ids.items() if _fits(value, self.rows)}


def _fits(value: Any, rows: int) -> bool:
    ids = value if isinstance(value, list) else [value]
    return all(place is None or (isinstance(place, int) and 0 <= place < rows) for place in ids)


def special_beyond(config: Mapping[str, Any], rows: int) -> list[str]:
    """The special token ids of a config that have no row."""
    keys = [key for key in config if key.endswith("_token_id")]
    return [f"{key} {config[key]}" for key in keys if not _fits(config[key], rows)]


def make_tokenizer(
    home: Vocabulary,
    folder: Path,
    others: Sequence[tuple[Vocabulary, Path]],
    *,
    extra: Iterable[str] = (),
    multiple: int | None = None,
    foreign: bool = False,
) -> OutputTokenizer:
    """The home's tokenizer with the tokens of `others`, in order, and `extra` added.

    Raises RecipeError where the home has no tokenizer to add them to.
    """
    if home.tokens is None:
        raise RecipeError(
            "rows can be aligned by token only where the tokenizer is known; this model has none",
            where=home.name,
            remedy="put its tokenizer.json beside the weights, or take another model's tokenizer",
        )
    start = read_tokens(folder) or {}
    added = _additions(start, others, extra)
    if not added:
        return OutputTokenizer(home.tokens, _rounded(home.rows, multiple), folder, None, foreign)
    extended = _extend(folder, added)
    tokens: dict[str, int] = extended.get_vocab(with_added_tokens=True)
    if len(set(tokens.values())) != len(tokens):
        raise CheckpointError(
            "its tokenizer gives added tokens ids that are taken",
            where=str(folder),
            remedy="take another model's tokenizer for the source",
        )
    rows = max(home.rows, 1 + max(tokens.values()))
    return OutputTokenizer(tokens, _rounded(rows, multiple), folder, extended, foreign)


def _rounded(rows: int, multiple: int | None) -> int:
    return rows if multiple is None else -(-rows // multiple) * multiple


def _additions(
    start: Tokens, others: Sequence[tuple[Vocabulary, Path]], extra: Iterable[str]
) -> list[dict[str, Any]]:
    """The new tokens in order, with the settings of the tokenizer that they come from."""
    found: dict[str, dict[str, Any]] = {}
    for vocabulary, folder in others:
        tokens = vocabulary.tokens or {}
        new = sorted(
            (t for t in tokens if t not in start and t not in found), key=tokens.__getitem__
        )
        if new:
            settings = _settings(folder)
            found |= {token: settings.get(token, {}) for token in new}
    found |= {token: {} for token in extra if token not in start and token not in found}
    return [{**settings, "content": token} for token, settings in found.items() if token]


def _settings(folder: Path) -> dict[str, dict[str, Any]]:
    content = read_tokenizer(folder) or {}
    return {
        token["content"]: {k: v for k, v in token.items() if k not in {"id", "content"}}
        for token in content.get("added_tokens", [])
    }


def _extend(folder: Path, added: Sequence[dict[str, Any]]) -> Any:
    from tokenizers import AddedToken, Tokenizer

    if (folder / "tokenizer.json").is_file():
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    else:
        tokenizer = Tokenizer.from_str(load_tokenizer(folder).backend_tokenizer.to_str())
    for special, tokens in groupby(added, key=lambda token: bool(token.get("special"))):
        made = [AddedToken(**token) for token in tokens]
        (tokenizer.add_special_tokens if special else tokenizer.add_tokens)(made)
    return tokenizer
