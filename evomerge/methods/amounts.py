"""How many entries a density keeps, and when weights cancel: decided once, in exact arithmetic."""

from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

CANCEL = 1e-6
"""Weights cancel where |Σ w| ≤ CANCEL · Σ |w|."""


@lru_cache(4096)
def decimal(value: float) -> Fraction:
    """The number as it is written: 0.29 is 29/100, not the nearest binary fraction."""
    return Fraction(repr(float(value)))


def share_count(share: float, numel: int) -> int:
    """⌊share · numel⌋."""
    return int(decimal(share) * numel)


def kept_count(density: float, numel: int) -> int:
    """Entries that a density keeps: ⌊density · numel⌋, at least one (of a tensor that has any)."""
    return min(numel, max(1, share_count(density, numel)))


def weights_cancel(weights: Sequence[float]) -> bool:
    """Whether dividing by the sum of the weights would blow up."""
    return abs(sum(weights)) <= CANCEL * sum(abs(weight) for weight in weights)


def cancel_problem(weights: Sequence[float]) -> str | None:
    """What is wrong with weights that are divided by their sum; None for nothing."""
    listing = ", ".join(f"{weight:g}" for weight in weights)
    return f"the weights cancel ({listing})" if weights_cancel(weights) else None
