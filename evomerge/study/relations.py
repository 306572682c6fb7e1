"""What the rows of a study say together: whether measures go hand in hand over the methods.

Tam et al. 2024 found held-in performance and generalisation correlated for vision and anticorrelated for
language; here it is Pearson's r over the methods, each subset's mean in each training taken off, with an
interval over resampled documents.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from evomerge.bootstrap import Estimate, Floats, percentile_interval
from evomerge.study.measures import Value, difference, mean
from evomerge.study.roles import Role
from evomerge.study.rows import Merge, Training

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


def relations_of(base: str, trainings: Sequence[Training]) -> Iterator[Relation]:
    """For every size, held-in with combinations and with held-out."""
    merges = [Merge(training, cell) for training in trainings for cell in training.scored]
    for size in sorted({merge.cell.cell.size for merge in merges}):
        of_size = [merge for merge in merges if merge.cell.cell.size == size]
        for other in (Role.COMBINATION, Role.HELD_OUT):
            pairs = list(_pairs(of_size, other))
            if len(pairs) >= _FEWEST:
                found = correlation([one for one, _ in pairs], [two for _, two in pairs])
                yield Relation(base, size, Role.HELD_IN, other, len(pairs), found)


def _pairs(merges: Sequence[Merge], other: Role) -> Iterator[tuple[Value, Value]]:
    """Both measures of each merge, less their means over the methods on the same subset and training."""
    for place in dict.fromkeys(merge.place for merge in merges):
        same = [merge for merge in merges if merge.place == place]
        both = [(merge.measure(Role.HELD_IN), merge.measure(other)) for merge in same]
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
