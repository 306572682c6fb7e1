"""How sure a mean over documents is: a seeded bootstrap that resamples documents task by task.

All rows of a table are resampled with the same documents, so the draws of two rows may be subtracted:
that is the paired bootstrap (Efron & Tibshirani 1993, chapter 8), and it is what makes a small lead
visible that two separate intervals would hide. Shapes: R rows, N documents, B resamples.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
RESAMPLES = 4000
SEED = 20_250_101
_CHUNK_ENTRIES = 2_000_000
Z95 = 1.959963984540054
"""Half the width of a 95 % interval, in standard errors."""


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % interval; the interval is None where nothing is known about it."""

    value: float
    low: float | None = None
    high: float | None = None


def resampled_means(values_RN: Floats, seed: int = 0, resamples: int = RESAMPLES) -> Floats:
    """Means of each row over resampled documents, as (B, R); every row sees the same documents.

    Deviations are stretched by sqrt(n / (n - 1)): resampling alone gives the variance of a sample,
    not that of its population, and intervals over few documents would come out too short.
    """
    rows, count = values_RN.shape
    generator = np.random.default_rng([SEED, seed, count])
    means_BR = np.empty((resamples, rows))
    step = max(1, _CHUNK_ENTRIES // max(count, 1))
    for start in range(0, resamples, step):
        size = min(step, resamples - start)
        means_BR[start : start + size] = (
            resample_counts(generator, size, count) @ values_RN.T / count
        )
    centre_R = values_RN.mean(axis=1)
    stretch = math.sqrt(count / (count - 1)) if count > 1 else 1.0
    widened_BR: Floats = centre_R + (means_BR - centre_R) * stretch
    return widened_BR


def resample_counts(generator: np.random.Generator, size: int, count: int) -> Floats:
    """How often each of `count` documents is drawn in each of `size` resamples, as (size, count)."""
    drawn = generator.integers(count, size=(size, count))
    drawn += np.arange(size)[:, None] * count
    return np.bincount(drawn.ravel(), minlength=size * count).reshape(size, count).astype(float)


def normal_draws(
    value: float, stderr: float, seed: tuple[int, ...], resamples: int = RESAMPLES
) -> Floats:
    """Draws around a score of which only the standard error is known."""
    return value + stderr * np.random.default_rng([SEED, *seed]).standard_normal(resamples)


def percentile_interval(value: float, draws_B: Floats | None) -> Estimate:
    """The middle 95 % of the draws."""
    if draws_B is None:
        return Estimate(value)
    low, high = np.quantile(draws_B, [0.025, 0.975])
    return Estimate(value, float(low), float(high))


def basic_interval(value: float, draws_B: Floats | None) -> Estimate:
    """The middle 95 % of the draws, mirrored at the value (Davison & Hinkley 1997, section 5.2).

    For what bends, such as the worst of several scores: noise pushes its draws to one side of the
    value as it pushed the value to that side of the truth, and mirroring takes both back.
    """
    if draws_B is None:
        return Estimate(value)
    low, high = np.quantile(draws_B, [0.025, 0.975])
    return Estimate(value, 2 * value - float(high), 2 * value - float(low))


def wilson_interval(values_N: Floats) -> Estimate:
    """The interval of a share of successes (Wilson 1927); honest even at 0 of n and n of n."""
    count, share = len(values_N), float(values_N.mean())
    z2 = Z95**2 / count
    centre = (share + z2 / 2) / (1 + z2)
    half = Z95 / (1 + z2) * math.sqrt(share * (1 - share) / count + z2 / (4 * count))
    return Estimate(share, max(0.0, min(centre - half, share)), min(1.0, max(centre + half, share)))


def is_binary(values_N: Floats) -> bool:
    """Whether every document is simply right or wrong."""
    return bool(np.isin(values_N, (0.0, 1.0)).all())
