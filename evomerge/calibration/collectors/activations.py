"""The inputs of linear layers at some tokens of the texts, the same ones for every model.

With both networks' inputs on the same tokens units can be matched by what they answer, and merged weights
be fitted to both. Layers with the same input share it. Experts, which see some of the tokens only,
are left out.
"""

from collections.abc import Sequence

import numpy as np
import torch

from evomerge.calibration.batches import Batch, Encoded
from evomerge.calibration.collectors.base import Unit
from evomerge.calibration.collectors.grams import InputGrams
from evomerge.calibration.loading import Loaded
from evomerge.calibration.watch import Call

POSITIONS = 1024
"""Of all texts together, at most: 16 MB of fp32 for a layer of 4,096 inputs."""


class Activations(InputGrams):
    """[positions, n] for every linear layer, in an order of positions that the texts alone decide."""

    def __init__(self, loaded: Loaded, examples: Sequence[Encoded]) -> None:
        super().__init__(loaded)
        self._wanted = drawn_positions(examples)
        self._rows = sum(len(places) for _, places in self._wanted.values())
        self._batch: Batch | None = None

    def units(self, batch: Batch) -> Sequence[Unit]:
        self._batch = batch
        found = super().units(batch)
        return [Unit(unit.names, 4 * self._rows * self._side(unit.names[0])) for unit in found]

    def feed(self, batch: Batch) -> None:
        self._batch = batch
        super().feed(batch)

    def values(self) -> dict[str, torch.Tensor]:
        return dict(self.sums.tensors)

    def _see(self, call: Call) -> None:
        if not call.repeated:
            self._fed = set()
        for leader in self._leaders_of(call):
            if leader in self._active and leader not in self._fed:
                self._take(leader, call.inputs_TN)
            self._fed.add(leader)

    def _take(self, leader: str, inputs_TN: torch.Tensor) -> None:
        assert self._batch is not None
        length = self._batch.ids_BT.shape[1]
        if len(inputs_TN) != len(self._batch.examples) * length:
            return
        like = inputs_TN.new_zeros(self._rows, inputs_TN.shape[1])
        total = self.sums.add(leader, like)
        for number, example in enumerate(self._batch.examples):
            start, places = self._wanted.get(example, (0, ()))
            for row, place in enumerate(places, start):
                total[row] = inputs_TN[number * length + place]


def drawn_positions(examples: Sequence[Encoded]) -> dict[Encoded, tuple[int, tuple[int, ...]]]:
    """Positions of each example, without replacement from all, and the row of its first one."""
    places = [(one, position) for one in examples for position in range(len(one.ids))]
    generator = np.random.default_rng(sum(one.seed for one in examples) % (1 << 63))
    chosen: dict[Encoded, tuple[int, ...]] = {}
    for number in np.sort(generator.permutation(len(places))[:POSITIONS]):
        one, position = places[number]
        chosen[one] = (*chosen.get(one, ()), position)
    found: dict[Encoded, tuple[int, tuple[int, ...]]] = {}
    start = 0
    for one, taken in chosen.items():
        found[one] = start, taken
        start += len(taken)
    return found
