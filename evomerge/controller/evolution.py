"""The generations of a search: ask, score, tell."""

from collections.abc import Sequence

from evomerge.controller.events import Listener, Note, PhaseStarted
from evomerge.controller.ledger import Ledger, fitness_of
from evomerge.fitness import Fitness, Split
from evomerge.space import Genome, SearchSpace
from evomerge.store.types import CandidateRecord, EvaluationRecord, Origin
from evomerge.strategy import Strategy, make_strategy

MEAN_LABEL = "distribution mean"


class Evolution:
    """Walks the generations of one search, from its start to the end of its budget."""

    def __init__(self, ledger: Ledger, space: SearchSpace, listener: Listener) -> None:
        self._ledger, self._space, self._listener = ledger, space, listener
        self._spec = ledger.search.spec

    def run(self, start: Genome) -> None:
        """Search from `start`; the candidates and their scores are in the store afterwards."""
        strategy = make_strategy(self._spec.strategy, start)
        left = self._spec.budget.candidates
        self._listener(PhaseStarted("search", left))
        generation = 0
        while left > 0 and (reason := self._stop_reason(strategy)) is None:
            genomes = strategy.ask()
            self._generation(strategy, genomes[:left], generation, whole=len(genomes) <= left)
            left -= len(genomes)
            generation += 1
        if left > 0:
            self._listener(Note(f"the search stopped early: {reason}"))
        self._score_mean(strategy, generation)

    def _generation(
        self, strategy: Strategy, genomes: Sequence[Genome], generation: int, *, whole: bool
    ) -> None:
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
        if whole:
            self._tell(strategy, genomes, candidates, evaluations)

    def _tell(
        self,
        strategy: Strategy,
        genomes: Sequence[Genome],
        candidates: Sequence[CandidateRecord],
        evaluations: Sequence[EvaluationRecord],
    ) -> None:
        losses = to_losses([fitness_of(evaluation) for evaluation in evaluations])
        strategy.tell(genomes, losses)
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


def to_losses(fitnesses: Sequence[Fitness | None]) -> list[float]:
    """What a strategy that minimises is told: finite, and in the order of the ranks.

    Feasible candidates get their negated fitness; infeasible ones lie behind the worst of those by
    their violation; failures (None) behind everything.
    """
    feasible = [-f.value for f in fitnesses if f is not None and f.feasible]
    edge = max(feasible, default=0.0)
    violations = [f.violation for f in fitnesses if f is not None]
    worst = edge + max(violations, default=0.0) + 1.0

    def loss(fitness: Fitness | None) -> float:
        if fitness is None:
            return worst
        return -fitness.value if fitness.feasible else edge + fitness.violation

    return [loss(fitness) for fitness in fitnesses]
