"""Logits at positions that the texts alone decide, so that those of several models can be compared."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from evomerge.calibration.batches import Batch, Encoded
from evomerge.calibration.collectors.base import Sums, Unit
from evomerge.calibration.loading import Loaded

POSITIONS = 512
"""Of all texts together, at most: 64 MB of fp32 for a vocabulary of 32,000."""
NAME = "logits"


class Logits:
    """[positions, vocabulary]; [examples, classes] of a classifier."""

    one_by_one = False

    def __init__(self, loaded: Loaded, examples: Sequence[Encoded]) -> None:
        self._loaded = loaded
        self._wanted = _positions(examples, 1 if loaded.classifier else None)
        self.sums = Sums()

    def units(self, batch: Batch) -> Sequence[Unit]:
        with torch.no_grad():
            width = self._loaded.model(input_ids=batch.ids_BT[:1]).logits.shape[-1]
        return [Unit((NAME,), 4 * width * sum(map(len, self._wanted.values())))]

    def begin(self, names: frozenset[str]) -> None:
        del names
        self.sums = Sums()

    @torch.no_grad()
    def feed(self, batch: Batch) -> None:
        logits = self._loaded.model(input_ids=batch.ids_BT).logits.float()
        rows = logits[:, None] if self._loaded.classifier else logits
        for number, example in enumerate(batch.examples):
            if example in self._wanted:
                self.sums.tensors[f"{len(self.sums.tensors):06d}"] = rows[
                    number, list(self._wanted[example])
                ].cpu()

    def values(self) -> dict[str, Tensor]:
        return {NAME: torch.cat([self.sums.tensors[name] for name in sorted(self.sums.tensors)])}


def _positions(examples: Sequence[Encoded], most: int | None) -> dict[Encoded, tuple[int, ...]]:
    """The positions of each example, drawn without replacement from all of them."""
    places = [(one, n) for one in examples for n in range(most or len(one.ids))]
    generator = np.random.default_rng(sum(one.seed for one in examples) % (1 << 63))
    drawn = np.sort(generator.permutation(len(places))[:POSITIONS])
    found: dict[Encoded, tuple[int, ...]] = {}
    for number in drawn:
        one, position = places[number]
        found[one] = (*found.get(one, ()), position)
    return found
