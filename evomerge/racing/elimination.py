"""Who among several finalists is out: successive elimination on shared documents.

Every finalist answers the same rounds of documents; one is out as soon as another is ahead of it for
certain enough (Even-Dar, Mannor & Mansour 2006, with bounds by betting in place of Hoeffding's).
Nobody needs to have answered everything: a comparison uses the rounds that both have answered.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

from evomerge.fitness import Floats, TaskOutcomes
from evomerge.racing.answers import read_answers
from evomerge.racing.blocks import shuffle
from evomerge.racing.confidence import log_wealth
from evomerge.racing.draws import Field, make_draws, make_field
from evomerge.racing.track import answers_in

Key = TypeVar("Key", bound=Hashable)
_LEVEL = 0.5
"""A difference of answers in [-1, 1] becomes one in [0, 1] whose level this is."""


def eliminate(
    outcomes: Mapping[Key, Sequence[TaskOutcomes]],
    documents: Mapping[str, Sequence[int]],
    metrics: Mapping[str, str],
    factors: Mapping[str, float],
    *,
    error: float,
    seed: int,
) -> dict[Key, Key]:
    """Those who are out, each with the one who is ahead of it most surely.

    Call it as often as there are new outcomes; who was out once must be passed on as well, as the
    error is divided by the number of finalists.

    Args:
        outcomes: of every finalist, so far. documents: the whole split.
        metrics, factors, seed: as in `RacePlan`.
        error: the chance that the one with the best fitness on the whole split is ever among those
            out. It loses only if one of its comparisons with all others is wrong, so each is made
            at this error divided by their number.
    """
    order = shuffle(documents, seed)
    weights = {task: abs(factors[task]) for task in order}
    answers = {key: read_answers(found, metrics, factors) for key, found in outcomes.items()}
    level = make_field(
        {task: 2 * weight for task, weight in weights.items()},
        {task: [_LEVEL] * len(ids) for task, ids in order.items()},
    )
    rounds = {key: answers_in(order, found) for key, found in answers.items() if found is not None}
    share = error / max(1, len(outcomes) - 1)
    out: dict[Key, Key] = {}
    for one, its_RT in rounds.items():
        rivals = {other: found for other, found in rounds.items() if other != one}
        wealth = {o: _evidence(level, its_RT, found, share) for o, found in rivals.items()}
        best = max(wealth, key=wealth.__getitem__, default=None)
        if best is not None and wealth[best] >= math.log(1 / share):
            out[one] = best
    return out


def _evidence(level: Field, one_RT: Floats, other_RT: Floats, error: float) -> float:
    """That the first of two has the smaller fitness, as the log of what was won by betting on it."""
    both = min(len(one_RT), len(other_RT))
    draws = make_draws(level, level.there_RT[:both] * (1 + one_RT[:both] - other_RT[:both]) / 2)
    return log_wealth(draws, 0.0, error)
