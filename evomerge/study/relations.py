"""What the rows of a study say together: whether measures go hand in hand over the methods.

Tam et al. 2024 found held-in performance and generalisation correlated for vision and anticorrelated for
language; here it is Pearson's r over all merges of a size, with an interval over resampled documents.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evomerge.bootstrap import Estimate, Floats, percentile_interval
from evomerge.study.measures import Measured, Value
from evomerge.study.roles import Role
from evomerge.study.run import BaseResult

_FEWEST = 4
"""Merges that a correlation is worth being worked out for."""


@dataclass(frozen=True)
class Relation:
    """How two measures go together over `merges` merges of one size."""

    base: str
    size: int
    one: Role
    other: Role
    merges: int
    correlation: Estimate


def relations_of(base: BaseResult, measured: Measured) -> Iterator[Relation]:
    """For every size, held-in with combinations and with held-out."""
    for size in sorted({cell.cell.size for cell in base.cells}):
        for other in (Role.COMBINATION, Role.HELD_OUT):
            pairs = []
            for cell in base.cells:
                if cell.cell.size == size:
                    first = measured.of_cell(cell, Role.HELD_IN)
                    second = measured.of_cell(cell, other)
                    if first is not None and second is not None:
                        pairs.append((first, second))
            if len(pairs) >= _FEWEST:
                found = correlation([one for one, _ in pairs], [two for _, two in pairs])
                yield Relation(base.base.label, size, Role.HELD_IN, other, len(pairs), found)


def correlation(ones: Sequence[Value], others: Sequence[Value]) -> Estimate:
    """Pearson's r, and the middle 95 % over the draws; NaN where one of them does not vary."""
    value = _pearson(
        np.array([[one.value] for one in ones]), np.array([[other.value] for other in others])
    )
    draws = [value.draws for value in (*ones, *others)]
    known = [one for one in draws if one is not None]
    if len(known) < len(draws):
        return Estimate(float(value[0]))
    found = _pearson(np.array(known[: len(ones)]), np.array(known[len(ones) :]))
    return percentile_interval(float(value[0]), found)


def _pearson(one_MB: Floats, other_MB: Floats) -> Floats:
    """Over merges M, for each draw B."""
    first, second = one_MB - one_MB.mean(axis=0), other_MB - other_MB.mean(axis=0)
    below = np.sqrt((first**2).sum(axis=0) * (second**2).sum(axis=0))
    above = (first * second).sum(axis=0)
    found: Floats = np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)
    return found
