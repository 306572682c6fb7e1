"""What each round says of a candidate's lead over a rival whose answers are all known.

The lead is a weighted sum of task means. After some rounds a part of it is settled by the documents
answered; each task's rest is estimated by the next round's document, as if all others left were like
it. That estimate is unbiased given everything before: the next document is any of those left with
equal chance. What the rival answered on it, against its mean over all documents left, says whether
the document was an easy one; the estimate is corrected for that by a regression whose slope is
learned from the rounds before (a control variate: Cochran 1977, chapter 7), which leaves it unbiased
and takes out much of its noise. Shapes: R rounds, T tasks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from evomerge.fitness import Floats
from evomerge.racing.confidence import Draws

# What is believed before the first documents, and the number of documents that this belief is worth.
_SLOPE, _SLOPE_DOCUMENTS, _SLOPE_VARIANCE = 0.5, 10.0, 0.2
_VARIANCE, _VARIANCE_DOCUMENTS = 0.15, 4.0


@dataclass(frozen=True)
class Field:
    """A rival's answers in the order of rounds, and what is left before each round.

    weights_T: what one point of each task's mean is worth, positive. there_RT: 1 where a task has a
    document in the round. left_RT: the part of its documents not answered before the round. rival_RT:
    in [0, 1], bigger is better. mean_RT, least_RT, most_RT: over the rival's answers not seen before
    the round.
    """

    weights_T: Floats
    sizes_T: Floats
    there_RT: Floats
    left_RT: Floats
    rival_RT: Floats
    mean_RT: Floats
    least_RT: Floats
    most_RT: Floats

    @property
    def rounds(self) -> int:
        return len(self.rival_RT)

    @property
    def rival(self) -> float:
        """The rival's weighted mean over everything."""
        return float(self.rival_RT.sum(axis=0) / self.sizes_T @ self.weights_T)

    def ahead(self, rounds: int) -> tuple[Floats, Floats]:
        """After so many rounds: the part of each task that is left, and the rival's mean over it."""
        if rounds == self.rounds:
            return np.zeros_like(self.sizes_T), np.zeros_like(self.sizes_T)
        return self.left_RT[rounds], self.mean_RT[rounds]


def make_field(weights: Mapping[str, float], answers: Mapping[str, Sequence[float]]) -> Field:
    """The field of a rival whose `answers` stand in the order of rounds, one column a weight."""
    columns = [answers[task] for task in weights]
    sizes_T = np.array([len(column) for column in columns], dtype=np.float64)
    rows_R1 = np.arange(int(sizes_T.max()))[:, None]
    there = rows_R1 < sizes_T
    left_RT = np.maximum(0.0, 1 - rows_R1 / sizes_T)
    rival_RT = fill(columns, len(rows_R1))
    sums_RT = rival_RT[::-1].cumsum(axis=0)[::-1]
    return Field(
        np.array(list(weights.values())),
        sizes_T,
        there.astype(np.float64),
        left_RT,
        rival_RT,
        np.divide(sums_RT, left_RT * sizes_T, out=np.zeros_like(sums_RT), where=there),
        _from_the_end(np.minimum, np.where(there, rival_RT, 1.0)),
        _from_the_end(np.maximum, np.where(there, rival_RT, 0.0)),
    )


def fill(columns: Sequence[Sequence[float]], rounds: int) -> Floats:
    """The first rounds of each task's answers as (R, T), 0 where it has none."""
    found_RT = np.zeros((rounds, len(columns)))
    for number, column in enumerate(columns):
        values = column[:rounds]
        found_RT[: len(values), number] = values
    return found_RT


def make_draws(field: Field, answers_RT: Floats) -> Draws:
    """What a candidate's answers in the first rounds, as many as there are, say of its lead."""
    rounds = len(answers_RT)
    there_RT, rival_RT = field.there_RT[:rounds], field.rival_RT[:rounds]
    slope_R1 = past_slopes(there_RT, answers_RT, rival_RT)[:-1]
    variance_RT = past_variances(there_RT, answers_RT - slope_R1 * rival_RT)[:-1]
    settled_R = _sums(answers_RT) / field.sizes_T @ field.weights_T - field.rival
    rest_RT = field.left_RT[:rounds] * field.weights_T

    def draw(values_RT: Floats | float, its_RT: Floats) -> Floats:
        """Were all documents left like this one, with its answer and the rival's corrected for."""
        corrected_RT = values_RT - slope_R1 * (its_RT[:rounds] - field.mean_RT[:rounds])
        drawn_R: Floats = settled_R[:-1] + (rest_RT * corrected_RT).sum(axis=1)
        return drawn_R

    left_T, _ = field.ahead(rounds)
    return Draws(
        estimates_R=draw(answers_RT, rival_RT),
        floors_R=draw(0.0, field.most_RT),
        ceilings_R=draw(1.0, field.least_RT),
        variances_R=(rest_RT**2 * variance_RT).sum(axis=1),
        unit_variances_R=(field.weights_T**2 * variance_RT).sum(axis=1),
        low=float(settled_R[-1]),
        high=float(settled_R[-1] + left_T @ field.weights_T),
        rounds=field.rounds,
    )


def past_slopes(there_RT: Floats, answers_RT: Floats, rival_RT: Floats) -> Floats:
    """The regression of answers on the rival's before each round and after all, as (R + 1, 1).

    One for all tasks, each about its own means.
    """
    count_RT = np.maximum(_sums(there_RT), 1.0)
    mine_RT, its_RT = _sums(answers_RT), _sums(rival_RT)
    shared_R = (_sums(answers_RT * rival_RT) - mine_RT * its_RT / count_RT).sum(axis=1)
    own_R = (_sums(rival_RT**2) - its_RT**2 / count_RT).sum(axis=1)
    belief = _SLOPE_DOCUMENTS * _SLOPE_VARIANCE
    slope_R: Floats = np.clip((shared_R + _SLOPE * belief) / (own_R + belief), 0.0, 1.0)
    return slope_R[:, None]


def past_variances(there_RT: Floats, values_RT: Floats) -> Floats:
    """Of each task's values before each round and after all, as (R + 1, T)."""
    count_RT = _sums(there_RT)
    spread_RT = _sums(values_RT**2) - _sums(values_RT) ** 2 / np.maximum(count_RT, 1.0)
    belief = _VARIANCE * _VARIANCE_DOCUMENTS
    variance_RT: Floats = (np.maximum(spread_RT, 0.0) + belief) / (count_RT + _VARIANCE_DOCUMENTS)
    return variance_RT


def _sums(values_RT: Floats) -> Floats:
    """Of the rounds before each, and of all: one row more."""
    return np.concatenate([np.zeros((1, values_RT.shape[1])), values_RT.cumsum(axis=0)])


def _from_the_end(function: np.ufunc, values_RT: Floats) -> Floats:
    found: Floats = function.accumulate(values_RT[::-1], axis=0)[::-1]
    return found
