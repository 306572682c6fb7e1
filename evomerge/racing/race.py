"""A race: whether a candidate can still be as good as a rival that has answered every document.

Two rules let a candidate go. It has lost where the bets against it say so, with a stated error, however
often one looks. And once it has answered a good part of the documents it must lead: one that is level with
the best so far would cost the whole split to tell apart, and what its answers have told the strategy by
then is worth more than the rest of them. That rule promises nothing about a single candidate.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from evomerge.fitness import Floats, TaskOutcomes
from evomerge.racing.confidence import Draws, log_wealth, lower_bound, upper_bound
from evomerge.racing.draws import make_draws
from evomerge.racing.estimate import estimate_lead
from evomerge.racing.plan import RacePlan
from evomerge.racing.track import make_track


@dataclass(frozen=True)
class Verdict:
    """What is known of a candidate's lead: its fitness minus the rival's, both on the whole split.

    dropped: the lead is below 0, at the plan's error. lead: the best guess from the documents
    answered. low, high: each is passed by the lead, at whatever block one looks, with probability at
    most the plan's error; infinite where the answers allow no judgement.
    """

    dropped: bool
    lead: float = math.nan
    low: float = -math.inf
    high: float = math.inf


class Race:
    """Judges candidates against the rival of a plan: a pure function of plan and answers.

    A race that cannot be held ends with everyone in it: a value is NaN or outside [0, 1], a task or
    its metric is missing, or nobody has answered a full round.
    """

    def __init__(self, plan: RacePlan) -> None:
        self._error, self._lead_after = plan.error, plan.lead_after
        self._track = make_track(plan)

    @property
    def documents(self) -> dict[str, tuple[int, ...]]:
        """What the rival has answered, ids rising; empty where no race can be held."""
        order = self._track.order if self._track else {}
        return {task: tuple(sorted(ids)) for task, ids in order.items()}

    def is_out(self, outcomes: Sequence[TaskOutcomes]) -> bool:
        """Whether a candidate with these outcomes so far is dropped; quicker than `judge`."""
        answers_RT = self._answers(outcomes)
        if self._track is None or answers_RT is None:
            return False
        if _is_below(make_draws(self._track.field, answers_RT), self._error):
            return True
        return self._must_lead(answers_RT) and self._lead(answers_RT) <= 0

    def judge(self, outcomes: Sequence[TaskOutcomes]) -> Verdict:
        """All that outcomes so far, of documents in any order, say of the lead."""
        answers_RT = self._answers(outcomes)
        if self._track is None or answers_RT is None:
            return Verdict(dropped=False)
        draws = make_draws(self._track.field, answers_RT)
        low, high = lower_bound(draws, self._error), upper_bound(draws, self._error)
        lead = self._lead(answers_RT)
        return Verdict(_is_below(draws, self._error), lead, low, high)

    def _must_lead(self, answers_RT: Floats) -> bool:
        assert self._track is not None
        there_RT = self._track.field.there_RT
        answered = there_RT[: len(answers_RT)].sum()
        return bool(answered >= self._lead_after * there_RT.sum())

    def _lead(self, answers_RT: Floats) -> float:
        assert self._track is not None
        return estimate_lead(self._track.field, answers_RT)[0]

    def _answers(self, outcomes: Sequence[TaskOutcomes]) -> Floats | None:
        """At least one full round, or None."""
        answers_RT = self._track.answers_of(outcomes) if self._track else None
        return answers_RT if answers_RT is not None and len(answers_RT) else None


def _is_below(draws: Draws, error: float) -> bool:
    return log_wealth(draws, 0.0, error) >= math.log(1 / error)
