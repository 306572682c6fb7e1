"""What the rows of a study say together: whether measures go hand in hand over the methods.

Tam et al. 2024 found held-in performance and generalisation correlated for vision and anticorrelated for
language; here it is Pearson's r over the methods, each subset's mean taken off, with an interval over
resampled documents.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evomerge.bootstrap import Estimate, Floats, percentile_interval
from evomerge.study.measures import Measured, Value, difference, mean
from evomerge.study.roles import Role
from evomerge.study.run import BaseResult, CellResult

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
        cells = [cell for cell in base.cells if cell.cell.size == size]
        for other in (Role.COMBINATION, Role.HELD_OUT):
            pairs = list(_pairs(measured, cells, other))
            if len(pairs) >= _FEWEST:
                found = correlation([one for one, _ in pairs], [two for _, two in pairs])
                yield Relation(base.base.label, size, Role.HELD_IN, other, len(pairs), found)


def _pairs(
    measured: Measured, cells: Sequence[CellResult], other: Role
) -> Iterator[tuple[Value, Value]]:
    """Both measures of each merge, less their means over the methods on the same subset."""
    for places in dict.fromkeys(cell.cell.places for cell in cells):
        same = [cell for cell in cells if cell.cell.places == places]
        both = [(measured.of_cell(c, Role.HELD_IN), measured.of_cell(c, other)) for c in same]
        known = [(one, two) for one, two in both if one is not None and two is not None]
        if len(known) > 1:
            middle = mean([one for one, _ in known]), mean([two for _, two in known])
            for one, two in known:
                yield difference(one, middle[0]), difference(two, middle[1])


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
