"""Races as the controller sees them: whom a candidate has to beat, and what a dropped one is worth.

A candidate need not be known exactly if it neither moves the strategy nor can become the winner. So its
rival is a fully scored candidate at the strategy's border: the worst of the last population's parents,
or the best so far for strategies that follow the best one alone.
"""

import math
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from functools import lru_cache

import numpy as np

from evomerge.fitness import (
    Fitness,
    Objective,
    References,
    Split,
    TaskScore,
    compute_fitness,
    documents_behind,
)
from evomerge.racing import RacePlan, are_shares, estimate_fitness
from evomerge.store.api import Store
from evomerge.store.types import CandidateRecord, EvaluationRecord, EvaluationStatus, SearchRecord

_KEPT = 64


class Rivals:
    """Fed with results in told order; names the evaluation that the next candidate has to beat.

    Args:
        population: how many results make the strategy's last population.
        parents: how many of them, best first, move the strategy.
    """

    def __init__(self, population: int, parents: int) -> None:
        self._parents = parents
        self._recent: deque[float] = deque(maxlen=population)
        # Side by side and best last, 24 bytes for each that was scored in full, for a search's whole life.
        self._values, self._numbers, self._ids = array("d"), array("q"), array("q")

    def note(
        self, candidate: CandidateRecord, evaluation: EvaluationRecord, *, told: bool = True
    ) -> None:
        """Take a result into account; `told` says whether it belongs to the strategy's population."""
        feasible = evaluation.fitness is not None and not evaluation.violation
        value = evaluation.fitness if feasible and evaluation.fitness is not None else -math.inf
        if told:
            self._recent.append(value)
        if feasible and evaluation.status is EvaluationStatus.SCORED:
            equals = bisect_left(self._values, value), bisect_right(self._values, value)
            place = bisect_left(self._numbers, candidate.number, *equals)
            self._values.insert(place, value)
            self._numbers.insert(place, candidate.number)
            self._ids.insert(place, evaluation.id)

    def choose(self) -> int | None:
        """The id of the rival's evaluation; None while there is none that is safe to race against."""
        if not self._values:
            return None
        if self._parents == 1:
            return self._ids[-1]
        if len(self._recent) < (self._recent.maxlen or 0):
            return None
        border = sorted(self._recent, reverse=True)[self._parents - 1]
        place = bisect_right(self._values, border)
        return self._ids[place - 1] if place else None


class Races:
    """Plans for workers, and estimates for those that were dropped."""

    def __init__(self, store: Store, search: SearchRecord) -> None:
        self._spec = search.spec
        self._store = store
        self._outcomes = lru_cache(_KEPT)(store.outcomes)
        self._metrics = lru_cache(_KEPT)(self._headlines)

    def refusal(self, evaluation: EvaluationRecord) -> str | None:
        """Why candidates of this search cannot race, judged by one that was scored; None if they can."""
        objective = self._spec.objective
        if not self._spec.racing.enabled:
            return "the file says so"
        if objective.goal != "mean" or objective.custom:
            return "fitness is no weighted mean of the tasks' scores"
        by_task = {one.task: one for one in self._outcomes(evaluation.id)}
        for task, score in evaluation.headlines.items():
            documents = documents_behind(score, by_task.get(task))
            if not documents or not are_shares(np.array(list(documents.values()))):
                return f"{score.metric} of {task} is no mean of numbers between 0 and 1"
        return None

    def plan(self, rival: int, split: Split, references: References) -> RacePlan:
        """What a worker needs to race a candidate against the evaluation `rival`.

        On the search split the winner races once. Among finalists it may lose to any other one.
        """
        racing = self._spec.racing
        searching = split is Split.SEARCH
        races = 1 if searching else self._spec.selection.top
        return RacePlan(
            rival=self._outcomes(rival),
            metrics=self._metrics(rival),
            factors=_slopes(self._spec.objective, references),
            error=racing.error / races,
            blocks=racing.blocks,
            seed=self._spec.strategy.seed,
            lead_after=racing.lead_after if searching else 1.0,
        )

    def estimate(self, evaluation: EvaluationRecord, references: References) -> Fitness:
        """What a dropped candidate is worth on the whole split, as far as its answers say."""
        assert evaluation.rival is not None
        plan = self.plan(evaluation.rival, evaluation.split, references)
        value, stderr = estimate_fitness(plan, self._store.outcomes(evaluation.id))
        plain = compute_fitness(self._spec.objective, evaluation.scores, references)
        return Fitness(value, stderr, plain.violation)

    def _headlines(self, evaluation_id: int) -> dict[str, str]:
        headlines = self._store.evaluation(evaluation_id).headlines
        return {task: score.metric for task, score in headlines.items()}


def _slopes(objective: Objective, references: References) -> dict[str, float]:
    """What one point of each task's score adds to fitness, asked of `compute_fitness` itself."""
    names = [task.task for task in objective.tasks]

    def fitness_with(one: str | None) -> float:
        scores = [TaskScore(n, "", float(n == one), None, 1, headline=True) for n in names]
        return compute_fitness(objective, scores, references).value

    return {name: fitness_with(name) - fitness_with(None) for name in names}
