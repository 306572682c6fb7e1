"""A plan made ready: the order of documents, the rival's answers in it, and how far others have come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evomerge.fitness import Floats, TaskOutcomes
from evomerge.racing.answers import Answers, read_answers
from evomerge.racing.blocks import shuffle
from evomerge.racing.draws import Field, fill, make_field
from evomerge.racing.plan import RacePlan


@dataclass(frozen=True)
class Track:
    """Where a race is run. `order`: each task's documents, one a round."""

    plan: RacePlan
    order: Mapping[str, tuple[int, ...]]
    field: Field

    def answers_of(self, outcomes: Sequence[TaskOutcomes]) -> Floats | None:
        """The answers of all full rounds, (R, T); None where they allow no comparison."""
        answers = read_answers(outcomes, self.plan.metrics, self.plan.factors)
        return None if answers is None else answers_in(self.order, answers)


def make_track(plan: RacePlan) -> Track | None:
    """None where no race can be held against that rival."""
    rival = read_answers(plan.rival, plan.metrics, plan.factors)
    if rival is None or not all(rival.values()):
        return None
    order = shuffle({task: tuple(found) for task, found in rival.items()}, plan.seed)
    weights = {task: abs(plan.factors[task]) for task in order}
    return Track(plan, order, make_field(weights, in_order(order, rival)))


def answers_in(order: Mapping[str, Sequence[int]], answers: Answers) -> Floats:
    """The answers of all full rounds, (R, T), 0 where a task has none left."""
    last = max(map(len, order.values()))
    rounds = min(_full_rounds(ids, answers[task], last) for task, ids in order.items())
    return fill(list(in_order(order, answers, rounds).values()), rounds)


def in_order(
    order: Mapping[str, Sequence[int]], answers: Answers, rounds: int | None = None
) -> dict[str, list[float]]:
    """Each task's values in the order of the first rounds."""
    return {task: [answers[task][number] for number in ids[:rounds]] for task, ids in order.items()}


def _full_rounds(ids: Sequence[int], answered: Mapping[int, float], last: int) -> int:
    """Rounds before the first one whose document is missing; `last` where none is."""
    missing = (place for place, number in enumerate(ids) if number not in answered)
    return next(missing, last)
