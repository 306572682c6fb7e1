"""Texts as token ids, in batches that need no padding.

Only texts of equal length share a batch: there are no pads that could reach a statistic, whatever a
model does with its tokens, and mixtures of experts route nothing but text.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import torch
from torch import Tensor

from evomerge.calibration.sets import Example


@dataclass(frozen=True)
class Encoded:
    """One example as tokens.

    known: how many tokens at the beginning are given, and not predicted; at least 1.
    label: the class, for classifiers. seed: for labels that are drawn.
    """

    ids: tuple[int, ...]
    known: int
    label: int | None
    seed: int


@dataclass(frozen=True)
class Batch:
    """Examples of equal length; `ids_BT` on the model's device."""

    ids_BT: Tensor
    examples: tuple[Encoded, ...]


def encode(tokenizer: Any, examples: Iterable[Example], max_length: int) -> tuple[Encoded, ...]:
    """At most `max_length` tokens of each example: the first ones, or the last ones behind a prompt.

    Examples without a token are left out.
    """
    found = []
    for one in examples:
        ids = list(tokenizer(one.prompt + one.text)["input_ids"])
        given = len(tokenizer(one.prompt)["input_ids"]) if one.prompt else 0
        cut = max(0, len(ids) - max_length) if one.prompt else 0
        ids = ids[cut : cut + max_length]
        known = min(max(1, given - cut), max(1, len(ids) - 1))
        if ids:
            found.append(Encoded(tuple(ids), known, one.label, int(one.hash[:12], 16)))
    return tuple(found)


def make_batches(examples: Sequence[Encoded], size: int) -> tuple[tuple[Encoded, ...], ...]:
    """Runs of at most `size` examples of equal length, the shortest first."""
    ordered = sorted(examples, key=lambda one: (len(one.ids), one.seed))
    runs = [list(run) for _, run in groupby(ordered, key=lambda one: len(one.ids))]
    return tuple(
        tuple(run[start : start + size]) for run in runs for start in range(0, len(run), size)
    )


def load_batch(examples: tuple[Encoded, ...], device: torch.device) -> Batch:
    """A batch on a device."""
    return Batch(torch.tensor([one.ids for one in examples], device=device), examples)
