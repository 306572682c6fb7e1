"""Do the models fit together? Shapes, names, vocabularies, tokenizers, finite weights."""

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from evomerge.errors import CheckpointError
from evomerge.hub import model_folders
from evomerge.layout import CheckpointIndex, kind_of
from evomerge.merging.indexes import read_model

_SHOWN = 3


def read_models(names: Sequence[str]) -> tuple[list[CheckpointIndex], list[CheckpointError]]:
    """The index of every readable model, and what is wrong with the others."""
    indexes, problems = [], []
    for name in names:
        try:
            indexes.append(read_model(name, model_folders([name])))
        except CheckpointError as problem:
            problems.append(problem)
    return indexes, problems


def compare(base: CheckpointIndex, expert: CheckpointIndex) -> Iterator[CheckpointError]:
    """Why `expert` cannot be merged with `base`."""
    yield from _names(base, expert)
    shapes = list(_shapes(base, expert))
    vocabulary = [problem for kind, problem in shapes if kind in {"embedding", "head"}]
    yield from islice(vocabulary or [problem for _, problem in shapes], _SHOWN)
    if not vocabulary:
        yield from _tokenizers(base.tokenizer_folder, expert.tokenizer_folder)


def _names(base: CheckpointIndex, expert: CheckpointIndex) -> Iterator[CheckpointError]:
    tied = bool(base.config.get("tie_word_embeddings"))
    ignored = {name for name in base.tensors if tied and kind_of(name) == "head"}
    missing = sorted(base.tensors.keys() - expert.tensors.keys() - ignored)
    if missing:
        more = f" and {len(missing) - _SHOWN} more" if len(missing) > _SHOWN else ""
        yield CheckpointError(
            f"lacks tensors that the base model has: {', '.join(missing[:_SHOWN])}{more}",
            where=expert.name,
            remedy="merge fine-tunes of the same base model only",
        )


def _shapes(
    base: CheckpointIndex, expert: CheckpointIndex
) -> Iterator[tuple[str, CheckpointError]]:
    for name, info in base.tensors.items():
        other = expert.tensors.get(name)
        if other is None or other.shape == info.shape:
            continue
        kind = kind_of(name)
        what = "vocabulary sizes differ" if kind in {"embedding", "head"} else "shapes differ"
        yield (
            kind,
            CheckpointError(
                f"{what}: {name} is {list(other.shape)}, in the base model {list(info.shape)}",
                where=expert.name,
                remedy="merge fine-tunes of the same base model, with the same vocabulary, only",
            ),
        )


def _tokenizers(base: Path, expert: Path) -> Iterator[CheckpointError]:
    ours, theirs = vocabulary(base), vocabulary(expert)
    if ours is None or theirs is None or ours == theirs:
        return
    differing = sorted(
        token for token in ours.keys() | theirs.keys() if ours.get(token) != theirs.get(token)
    )
    yield CheckpointError(
        f"its tokenizer differs from the base model's in {len(differing)} tokens, "
        f"such as {differing[0]!r}",
        where=str(expert / "tokenizer.json"),
        remedy="merge models that share a tokenizer only",
    )


def vocabulary(path: Path) -> dict[str, int] | None:
    """Token to id of a fast tokenizer, added tokens included; None where there is none."""
    file = path / "tokenizer.json"
    if not file.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"cannot be read as JSON ({error})", where=str(file), remedy="download it again"
        ) from error
    listed = content.get("model", {}).get("vocab", {})
    tokens = listed if isinstance(listed, dict) else {t[0]: place for place, t in enumerate(listed)}
    added = {token["content"]: token["id"] for token in content.get("added_tokens", [])}
    return {**tokens, **added}
