"""Losses as a Gaussian process can learn them: of one scale, and without the tail of broken merges.

A merge that has collapsed may be ten times worse than everything else; how much worse says nothing
about where the best ones lie, but would bend the whole model. What lies far above the median counts by
its logarithm.
"""

from collections.abc import Sequence

import numpy as np

from evomerge.strategy.base import Observation, to_losses
from evomerge.strategy.gp.process import Floats

_LINEAR = 1.5
"""So far above the median losses keep their distances, in units of the way from best to median."""
_TAIL = 2.0
"""At most so far above that they count at all."""
_HUGE = 1e100


def standardise(observations: Sequence[Observation]) -> tuple[Floats, Floats]:
    """Losses with mean 0 and standard deviation 1, and the variance that each has beyond the least.

    Candidates answer the same documents and so share most of their error: what differs between their
    standard errors is what counts against the less certain ones.
    """
    losses_N = np.clip(to_losses(observations), -_HUGE, _HUGE)
    median = float(np.median(losses_N))
    unit = _positive(median - float(losses_N.min()), float(losses_N.max()) - median)
    away_N = (losses_N - median) / unit
    tail_N = np.minimum(np.log1p(np.maximum(away_N - _LINEAR, 0)), _TAIL)
    bent_N = np.where(away_N > _LINEAR, _LINEAR + tail_N, away_N)
    scale = _positive(float(bent_N.std()))
    errors_N = np.array([o.stderr[0] if o.stderr and o.losses else 0.0 for o in observations])
    excess_N = np.maximum(errors_N**2 - errors_N.min() ** 2, 0.0) / (unit * scale) ** 2
    return (bent_N - bent_N.mean()) / scale, np.minimum(excess_N, 1e4)


def _positive(*candidates: float) -> float:
    """The first that is a usable divisor, else 1."""
    return next((one for one in candidates if np.isfinite(one) and one > 1e-12), 1.0)
