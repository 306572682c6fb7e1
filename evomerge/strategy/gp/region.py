"""The box around the best genome in which the next one is looked for.

It grows while candidates get better and shrinks when they do not (Eriksson et al. 2019, Scalable Global
Optimization via Local Bayesian Optimization), and is wider along genes that matter less. Only results
of genomes asked for since its last change count, so many that are scored at once do not shrink it
many times over.
"""

import numpy as np

from evomerge.space import Genome
from evomerge.strategy.gp.process import Floats

_LARGEST = 1.6
_SMALLEST = 0.02
_FACTOR = 1.5
_SUCCESSES = 3


class Region:
    """A box of the given width around a centre; `version` counts its changes."""

    def __init__(self, width: float, dimension: int) -> None:
        self._first = self._width = min(width, _LARGEST)
        self._patience = max(6, dimension // 2)
        self._successes = self._failures = 0
        self.version = 0

    def update(self, better: bool) -> None:
        """One more result of this version: whether it was better than everything before."""
        self._successes = self._successes + 1 if better else 0
        self._failures = 0 if better else self._failures + 1
        if self._successes == _SUCCESSES:
            self._change(min(self._width * _FACTOR, _LARGEST))
        elif self._failures == self._patience:
            smaller = self._width / _FACTOR
            self._change(smaller if smaller > _SMALLEST else self._first)

    def box(self, centre_D: Genome, lengths_D: Floats) -> tuple[Genome, Genome]:
        """Its lower and upper corner, cut at the borders of [0, 1]^D."""
        half_D = self._width / 2 * lengths_D / np.exp(np.log(lengths_D).mean())
        return np.clip(centre_D - half_D, 0.0, 1.0), np.clip(centre_D + half_D, 0.0, 1.0)

    def _change(self, width: float) -> None:
        self._width = width
        self._successes = self._failures = 0
        self.version += 1
