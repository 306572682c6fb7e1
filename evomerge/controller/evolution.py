"""The generations of a search: ask, score, tell."""

import math
from collections.abc import Sequence

from evomerge.controller.events import Listener, Note, PhaseStarted
from evomerge.controller.ledger import Ledger, fitness_of
from evomerge.fitness import Fitness, Split
from evomerge.space import Genome, SearchSpace
from evomerge.store.types import CandidateRecord, EvaluationRecord, Origin
from evomerge.strategy import Observation, Strategy, make_strategy

MEAN_LABEL = "distribution mean"


class Evolution:
    """Walks the generations of one search, from its start to the end of its budget."""

    def __init__(self, ledger: Ledger, space: SearchSpace, listener: Listener) -> None:
        self._ledger, self._space, self._listener = ledger, space, listener
        self._spec = ledger.search.spec

    def run(self, start: Genome) -> None:
        """Search from `start`; the candidates and their scores are in the store afterwards."""
        strategy = make_strategy(self._spec.strategy, start, self._space.cells)
        left = self._spec.budget.candidates
        self._listener(PhaseStarted("search", left))
        generation = 0
        while left > 0 and (reason := self._stop_reason(strategy)) is None:
            genomes = [strategy.ask() for _ in range(min(left, strategy.population_size))]
            self._generation(strategy, genomes, generation)
            left -= len(genomes)
            generation += 1
        if left > 0:
            self._listener(Note(f"the search stopped early: {reason}"))
        self._score_mean(strategy, generation)

    def _generation(self, strategy: Strategy, genomes: Sequence[Genome], generation: int) -> None:
        new = [
            self._ledger.new(
                self._space.decode(genome),
                place,
                Origin.SEARCH,
                genome=genome,
                generation=generation,
            )
            for place, genome in enumerate(genomes)
        ]
        candidates = self._ledger.add(new)
        evaluations = self._ledger.finish(candidates, Split.SEARCH)
        self._tell(strategy, genomes, candidates, evaluations)

    def _tell(
        self,
        strategy: Strategy,
        genomes: Sequence[Genome],
        candidates: Sequence[CandidateRecord],
        evaluations: Sequence[EvaluationRecord],
    ) -> None:
        losses = []
        for genome, evaluation in zip(genomes, evaluations, strict=True):
            observation = observe(fitness_of(evaluation))
            strategy.tell(genome, observation)
            losses.append(math.inf if observation.losses is None else observation.losses[0])
        untold = {c.id: loss for c, loss in zip(candidates, losses, strict=True) if c.told is None}
        if untold:
            self._ledger.store.mark_told(self._ledger.search.id, self._ledger.owner, untold)

    def _score_mean(self, strategy: Strategy, generation: int) -> None:
        """The final distribution's mean is less lucky than its best sample: it competes too."""
        mean = strategy.recommend()
        if mean is None:
            return
        new = self._ledger.new(
            self._space.decode(mean),
            0,
            Origin.SEARCH,
            label=MEAN_LABEL,
            genome=mean,
            generation=generation,
        )
        self._ledger.finish(self._ledger.add([new]), Split.SEARCH)

    def _stop_reason(self, strategy: Strategy) -> str | None:
        if strategy.stop_reason is not None:
            return strategy.stop_reason
        return "the hours of its budget are spent" if self._out_of_hours() else None

    def _out_of_hours(self) -> bool:
        """Time is counted from stored costs, so that a replay stops where the first run did."""
        hours = self._spec.budget.hours
        if hours is None:
            return False
        walked = {candidate.id for candidate in self._ledger.walked}
        evaluations = self._ledger.store.evaluations(self._ledger.search.id, Split.SEARCH)
        spent = sum(
            e.costs.total_seconds for e in evaluations if e.costs and e.candidate_id in walked
        )
        return spent / self._spec.workers.max > hours * 3600


def observe(fitness: Fitness | None) -> Observation:
    """What a strategy, which minimises, is told of a fitness; None stands for a failure."""
    if fitness is None:
        return Observation(None)
    return Observation((-fitness.value,), (fitness.stderr or 0.0,), fitness.violation)
