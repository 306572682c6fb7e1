"""The search proper: ask, score, tell, with or without waiting for generations.

What decides the history is when the strategy was asked and when it was told: each candidate is stored
with the number of tells before its ask, each result with its place among the tells. A controller that
starts on an interrupted search repeats exactly that, and goes on where the store ends.

Synchronous: a whole population is asked for, and told in its order once all of it is final; the history
is the same however many workers there are. Asynchronous: one is asked for whenever a worker is free, and
told as soon as it is final; no worker waits for another.
"""

import math
import time
from collections.abc import Iterator, Sequence
from itertools import islice

import numpy as np

from evomerge.controller.baseline_phase import ScoredBaseline
from evomerge.controller.budget import ALL_TRIED, Spending
from evomerge.controller.events import Note, PhaseStarted
from evomerge.controller.ledger import Ledger
from evomerge.controller.races import Rivals
from evomerge.controller.start import GIVEN_LABEL, Start
from evomerge.controller.tracing import CandidateTraces
from evomerge.fitness import Split
from evomerge.recipe import Recipe
from evomerge.space import Genome, SearchSpace
from evomerge.spec import SearchSpec
from evomerge.store.types import CandidateRecord, EvaluationRecord, NewCandidate, Origin
from evomerge.strategy import choose, make_strategy

MEAN_LABEL = "distribution mean"


class Evolution:
    """Walks one search from its start to the end of its budget.

    Args:
        start: where it starts, and what is known before.
        baselines: scored; the first rivals of candidates that race.
    """

    def __init__(
        self,
        ledger: Ledger,
        space: SearchSpace,
        start: Start,
        baselines: Sequence[ScoredBaseline],
    ) -> None:
        self._ledger, self._space = ledger, space
        self._spec = ledger.search.spec
        self._barrier = not is_asynchronous(self._spec)
        self._strategy = make_strategy(
            self._spec.strategy,
            start.genome,
            space.cells,
            ordered=space.ordered,
            objectives=self._spec.objective.number_of_objectives,
            budget=self._spec.budget.candidates,
            workers=1 if self._barrier else self._spec.workers.max,
        )
        self._rivals = Rivals(self._strategy.population_size, self._strategy.parents)
        self._spending = Spending(self._spec.workers.gpus)
        self._given = list(start.given)
        self._told = 0
        self._outstanding: dict[int, CandidateRecord] = {}
        self._ended: dict[int, EvaluationRecord] = {}
        self._traces = CandidateTraces(ledger.search.id)
        for known in start.known:
            self._strategy.tell(known.genome, known.observation)
        for row in baselines:
            self._rivals.note(row.candidate, row.evaluation, told=False)
            self._spending.note_baseline(row.evaluation)
        self._races = self._may_race(baselines[0].evaluation)

    def run(self) -> None:
        """Search; the candidates and their scores are in the store afterwards."""
        self._say_how()
        budget = self._ledger.scheduler.wishes.limits.budget_of(self._spec)
        self._ledger.listener(PhaseStarted("search", budget.candidates))
        self._replay()
        if self._ledger.next_stored is None:  # else it ended before, and its mean was asked for
            self._search()
        self._score_mean()

    def _search(self) -> None:
        while (reason := self._fill()) is None or self._outstanding:
            for evaluation in self._ledger.advance():
                self._ended[evaluation.candidate_id] = evaluation
            self._tell_what_ended()
        if reason is not None and reason != ALL_TRIED:
            self._ledger.listener(Note(f"the search stopped early: {reason}"))

    def _replay(self) -> None:
        """Ask and tell again, in the stored order; hand what was not told to the scheduler."""
        told = self._ledger.stored_tells()
        while (stored := self._ledger.next_stored) is not None and stored.label != MEAN_LABEL:
            assert stored.asked_after is not None
            self._retell(islice(told, stored.asked_after - self._told))
            self._add([self._ask(0)])
        self._retell(told)
        for evaluation in self._ledger.request([*self._outstanding.values()], Split.SEARCH):
            self._ledger.schedule(evaluation)

    def _retell(self, told: Iterator[EvaluationRecord]) -> None:
        for evaluation in told:
            self._ended[evaluation.candidate_id] = evaluation
            self._ledger.announce(evaluation, replayed=True)
            self._tell(self._outstanding[evaluation.candidate_id])

    def _fill(self) -> str | None:
        """Ask for as many candidates as may start now; why no more will come, if so."""
        waits = self._barrier and self._outstanding
        if waits or self._ledger.scheduler.wishes.wants_pause:
            return None
        room = self._strategy.population_size if self._barrier else self._ledger.scheduler.free
        asked: list[NewCandidate] = []
        reason = None
        begin = time.perf_counter()
        while len(asked) < room and (reason := self._refusal(len(asked))) is None:
            asked.append(self._ask(len(asked)))
        if not asked:
            return reason
        # In one transaction: a population that a kill cut in two would be another history.
        candidates = self._add(asked)
        self._traces.asked(candidates, time.perf_counter() - begin)
        for evaluation in self._ledger.request(candidates, Split.SEARCH):
            self._ledger.schedule(evaluation)
        return reason

    def _refusal(self, asked: int) -> str | None:
        limits = self._ledger.scheduler.wishes.limits
        budget, workers = limits.budget_of(self._spec), limits.workers_of(self._spec)
        under_way = len(self._outstanding) + asked
        refusal = self._spending.refusal(budget, workers, under_way)
        return self._strategy.stop_reason or refusal

    def _ask(self, place: int) -> NewCandidate:
        """The next candidate, with everything that its ask depended on."""
        recipe, genome, label = self._next_recipe()
        return self._ledger.new(
            recipe,
            place,
            Origin.SEARCH,
            label=label,
            genome=genome,
            generation=self._told // self._strategy.population_size,
            asked_after=self._told,
            rival=self._rivals.choose() if self._races else None,
        )

    def _next_recipe(self) -> tuple[Recipe, Genome | None, str | None]:
        if self._given:
            return *self._given.pop(0), GIVEN_LABEL
        genome = self._strategy.ask()
        return self._space.decode(genome), genome, None

    def _add(self, asked: Sequence[NewCandidate]) -> list[CandidateRecord]:
        candidates = self._ledger.add(asked)
        self._outstanding.update({candidate.id: candidate for candidate in candidates})
        return candidates

    def _tell_what_ended(self) -> None:
        """Tell all that may be told: with a barrier, a whole population in its own order."""
        if self._barrier and len(self._ended) < len(self._outstanding):
            return
        order = list(self._outstanding if self._barrier else self._ended)
        candidates = [self._outstanding[candidate_id] for candidate_id in order]
        begin = time.perf_counter()
        self._ledger.mark_told({candidate.id: self._tell(candidate) for candidate in candidates})
        self._traces.told(candidates, time.perf_counter() - begin)

    def _tell(self, candidate: CandidateRecord) -> float:
        """Tell the strategy one result; returns the loss that the store remembers."""
        evaluation = self._ended.pop(candidate.id)
        del self._outstanding[candidate.id]
        observation = self._ledger.observe(evaluation)
        genome = candidate.genome
        if genome is not None:
            self._strategy.tell(np.array(genome), observation)
        self._rivals.note(candidate, evaluation, told=genome is not None)
        self._spending.note(evaluation)
        self._ledger.forget(candidate)
        self._told += 1
        return math.inf if observation.losses is None else observation.losses[0]

    def _may_race(self, scored: EvaluationRecord) -> bool:
        refusal = self._ledger.races.refusal(scored)
        if refusal is not None and self._spec.racing.enabled:
            self._ledger.listener(Note(f"every candidate answers all documents: {refusal}"))
        return refusal is None

    def _say_how(self) -> None:
        """Which strategy `auto` stands for, and why."""
        if self._spec.strategy.name != "auto":
            return
        objectives, budget = self._spec.objective.number_of_objectives, self._spec.budget.candidates
        space = self._space
        name, why = choose(self._spec.strategy, space.dimension, space.cells, objectives, budget)
        self._ledger.listener(Note(f"strategy {name}: {why}"))

    def _score_mean(self) -> None:
        """The final distribution's mean is less lucky than its best sample: it competes too."""
        mean = self._strategy.recommend()
        if mean is None:
            return
        new = self._ledger.new(
            self._space.decode(mean),
            0,
            Origin.SEARCH,
            label=MEAN_LABEL,
            genome=mean,
            generation=self._told // self._strategy.population_size,
            asked_after=self._told,
        )
        self._ledger.finish(self._ledger.add([new]), Split.SEARCH)


def is_asynchronous(spec: SearchSpec) -> bool:
    """Whether a search waits for no generation."""
    wanted = spec.strategy.asynchronous
    return spec.workers.max > 1 if wanted == "auto" else wanted
