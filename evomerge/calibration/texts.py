"""Calibration texts from files: a text a line, or JSON lines with prompts, labels and owners."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from evomerge.calibration.sets import Example
from evomerge.errors import SpecError

_KEYS = ("text", "prompt", "completion", "label", "model")
_SHAPE = 'write {"text": …}, or {"prompt": …, "completion": …}, perhaps with "label" and "model"'


def read_texts(file: Path) -> tuple[Example, ...]:
    """The examples of a .jsonl file, or of a text file with one on each line.

    Raises SpecError with file and line.
    """
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(
            f"cannot be read: {error}",
            where=str(file),
            remedy="name a .txt or .jsonl file in UTF-8",
        ) from error
    read = _json_lines if file.suffix in {".jsonl", ".json"} else _plain_lines
    found = tuple(read(file, lines))
    if not found:
        raise SpecError("holds no text", where=str(file), remedy="one text a line")
    return found


def _plain_lines(_: Path, lines: list[str]) -> Iterator[Example]:
    yield from (Example(line.strip()) for line in lines if line.strip())


def _json_lines(file: Path, lines: list[str]) -> Iterator[Example]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        where = f"{file}:{number}"
        try:
            yield _example(json.loads(line), where)
        except json.JSONDecodeError as error:
            raise SpecError(f"not JSON: {error.msg}", where=where, remedy=_SHAPE) from error


def _example(content: Any, where: str) -> Example:
    known = isinstance(content, dict) and content.keys() <= set(_KEYS)
    if not known or ("text" in content) == ("completion" in content):
        raise SpecError("no example", where=where, remedy=_SHAPE)
    texts = [content.get("text", content.get("completion")), content.get("prompt", "")]
    label, model = content.get("label"), content.get("model")
    right = all(isinstance(text, str) for text in texts)
    right &= label is None or (isinstance(label, int) and not isinstance(label, bool))
    right &= model is None or isinstance(model, str)
    if not right:
        raise SpecError("texts are strings, labels whole numbers", where=where, remedy=_SHAPE)
    return Example(str(texts[0]), str(texts[1]), label, model)
