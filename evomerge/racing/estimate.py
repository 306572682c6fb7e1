"""The best guess of a dropped candidate's fitness on the whole split.

Documents answered count as they are. Those left are taken to be answered like the others of their
task, but for what the rival's answers say: where the rival does better on documents left than on
those answered, the candidate probably does too. That is the regression estimator of a finite
population's mean (Cochran, Sampling Techniques, 1977, chapter 7), with its correction for the part of
the population that is known. It looks back from the moment at which the candidate was dropped, so it
lies low by a little: candidates are dropped when they have been unlucky. Shapes: R rounds, T tasks.
"""

import math
from collections.abc import Sequence

from evomerge.fitness import Floats, TaskOutcomes
from evomerge.racing.draws import Field, past_slopes, past_variances
from evomerge.racing.plan import RacePlan
from evomerge.racing.track import make_track


def estimate_fitness(plan: RacePlan, outcomes: Sequence[TaskOutcomes]) -> tuple[float, float]:
    """Fitness on the whole split and its standard error, from a part of the outcomes.

    Raises ValueError where they have no full round, or no values that a race can compare.
    """
    track = make_track(plan)
    answers_RT = track.answers_of(outcomes) if track else None
    if track is None or answers_RT is None or not len(answers_RT):
        raise ValueError("these outcomes cannot be compared with the rival's")
    lead, stderr = estimate_lead(track.field, answers_RT)
    turned = sum(factor for factor in plan.factors.values() if factor < 0)
    return track.field.rival + turned + lead, stderr


def estimate_lead(field: Field, answers_RT: Floats) -> tuple[float, float]:
    """A candidate's lead over the rival on the whole split, and its standard error.

    Args:
        answers_RT: of the first rounds, at least one.
    """
    rounds = len(answers_RT)
    there_RT, rival_RT = field.there_RT[:rounds], field.rival_RT[:rounds]
    slope = past_slopes(there_RT, answers_RT, rival_RT)[-1]
    rest_RT = answers_RT - slope * rival_RT
    variance_T = past_variances(there_RT, rest_RT)[-1]
    count_T = there_RT.sum(axis=0)
    left_T, mean_T = field.ahead(rounds)
    others_T = left_T * (rest_RT.sum(axis=0) / count_T + slope * mean_T)
    settled_T = answers_RT.sum(axis=0) / field.sizes_T
    lead = float((settled_T + others_T) @ field.weights_T) - field.rival
    return lead, math.sqrt(float((field.weights_T**2 * left_T * variance_T / count_T).sum()))
