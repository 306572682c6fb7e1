"""Which model is the base that the others were fine-tuned from: named, declared, or guessed.

Declared: by the half of `model+adapter` before the plus, an adapter's config, or `base_model:` at the
head of a model card. Guessed: from three models on, from the weights of a few layers, if one stands
between the others. Seen from a base, its fine-tunes lie in nearly unrelated directions (Ilharco et
al. 2023, figure 5); seen from a fine-tune, all others lie where the base does, at cosines of 1/2 and
more.
"""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from evomerge.hub import parts_of, short_name
from evomerge.layout import CheckpointIndex

_UNRELATED = 0.4
"""A mean cosine below which directions are taken to be those of fine-tunes: unrelated models give 1/2."""

Gram = NDArray[np.float64]


class Base(NamedTuple):
    """A base, and how it was found out, in words."""

    name: str
    told_by: str


def declared_base(names: Sequence[str], indexes: Sequence[CheckpointIndex]) -> Base | None:
    """The base that all models that declare one agree on; None where they do not, or none does."""
    found = [
        (base, f"{name} declares it")
        for name, index in zip(names, indexes, strict=True)
        for base in _declared(name, index)
    ]
    known = [(match, why) for base, why in found if (match := _among(base, names)) is not None]
    if len({match for match, _ in known}) != 1:
        return None
    return Base(*known[0])


def guessed_base(names: Sequence[str], gram: Callable[[], Gram]) -> Base | None:
    """The model that stands between the others, from three on.

    Args:
        gram: inner products of the models' differences from the first one, [N, N], in fp64; its first
            row and column are zero.
    """
    if len(names) < 3:
        return None
    means = [_mean_cosine(gram_from(gram(), place)) for place in range(len(names))]
    place = int(np.argmin(means))
    if not means[place] < _UNRELATED:
        return None
    return Base(names[place], "a guess from the weights: the others lie around it")


def gram_from(gram: Gram, place: int) -> Gram:
    """Inner products of the differences from model `place`, that model left out, [N-1, N-1]."""
    own = gram[place]
    moved = gram - own[:, None] - own[None, :] + own[place]
    return np.delete(np.delete(moved, place, 0), place, 1)


def _mean_cosine(gram: Gram) -> float:
    norms = np.sqrt(np.clip(np.diag(gram), 0.0, None))
    if not (norms > 0).all():
        return float("inf")  # an exact copy: it cannot be told which one is the base
    cosines = gram / np.outer(norms, norms)
    return float(cosines[np.triu_indices(len(gram), 1)].mean())


def _declared(name: str, index: CheckpointIndex) -> Iterator[str]:
    if index.parts:
        yield parts_of(name)[0]
        return
    file = index.path / "README.md"
    if file.is_file():
        yield from _of_card(file)


def _of_card(file: Path) -> Iterator[str]:
    """`base_model` at the head of a model card: a name, or a list of them."""
    text = file.read_text(encoding="utf-8", errors="replace")
    if not text.startswith("---"):
        return
    try:
        head = YAML(typ="safe").load(text.split("---", 2)[1])
    except YAMLError:
        return  # a card is for people: one that cannot be read declares nothing
    given = head.get("base_model") if isinstance(head, dict) else None
    yield from [given] if isinstance(given, str) else given if isinstance(given, list) else []


def _among(base: str, names: Sequence[str]) -> str | None:
    """The model that a declaration means: by its whole name, else by the last part of it.

    The base of adapters need not be among the models: it has a folder already.
    """
    last = [name for name in names if "+" not in name and _last(name) == _last(base)]
    if base in names or not last:
        return base if base in names or Path(base).is_dir() else None
    return last[0] if len(last) == 1 else None


def _last(name: str) -> str:
    return short_name(name.partition("@")[0])
