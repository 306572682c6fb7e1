"""A search's candidates as the controller walks past them: found in the store, or added to it.

The walk is the same every time. A candidate that the store has already must be the one that the
walk arrives at; if it is not, something that decides the history has changed, and the search stops
rather than going on with another one.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from evomerge.controller.events import Listener, Scored
from evomerge.controller.races import Races
from evomerge.controller.scheduling import Scheduler
from evomerge.errors import SpecError
from evomerge.fitness import (
    Fitness,
    References,
    Split,
    compute_fitness,
    compute_objectives,
    needs_references,
)
from evomerge.recipe import Recipe
from evomerge.space import Genome
from evomerge.store.api import Store
from evomerge.store.parts import parts
from evomerge.store.types import (
    FINAL,
    CandidateRecord,
    EvaluationRecord,
    EvaluationStatus,
    NewCandidate,
    Origin,
    SearchRecord,
    Standing,
)
from evomerge.strategy import Observation


class _Stored:
    """The candidates that the store has ahead of the walk, by number."""

    def __init__(self, store: Store, search_id: str) -> None:
        self._store, self._search_id, self._parts = store, search_id, parts()
        self._ahead: deque[CandidateRecord] = deque()
        self._over = False

    def peek(self) -> CandidateRecord | None:
        """The next one; None where the store has no more."""
        if not self._ahead and not self._over:
            part = next(self._parts)
            self._ahead.extend(self._store.candidates(self._search_id, part))
            self._over = len(self._ahead) < len(part)
        return next(iter(self._ahead), None)

    def take(self, number: int) -> CandidateRecord | None:
        """The one with this number, which comes next or is not there."""
        first = self.peek()
        return self._ahead.popleft() if first is not None and first.number == number else None


class Ledger:
    """Adds candidates in order, has them scored, and grades the scores."""

    def __init__(
        self,
        store: Store,
        search: SearchRecord,
        owner: str,
        scheduler: Scheduler,
        listener: Listener,
    ) -> None:
        self.store, self.search, self.owner = store, search, owner
        needed = needs_references(search.spec.objective)
        self.references: References | None = None if needed else References()
        self.scheduler, self.listener = scheduler, listener
        self.races = Races(store, search)
        self.length = 0
        """How many candidates were passed so far."""
        self._stored = _Stored(store, search.id)
        self._known: dict[int, CandidateRecord] = {}
        self._replayed: set[int] = set()

    @property
    def next_stored(self) -> CandidateRecord | None:
        """The candidate that the store has at this point of the walk; None where it ends."""
        return self._stored.peek()

    def stored_tells(self) -> Iterator[EvaluationRecord]:
        """What the strategy was told before this run, in told order."""
        for part in parts():
            told = self.store.told(self.search.id, part)
            yield from told
            if len(told) < len(part):
                return

    def candidate_of(self, evaluation: EvaluationRecord) -> CandidateRecord:
        """The candidate that an evaluation belongs to; it was walked past, and not forgotten."""
        return self._known[evaluation.candidate_id]

    def forget(self, candidate: CandidateRecord) -> None:
        """Nothing more will be heard of it, unless it comes to the finals."""
        self._known.pop(candidate.id, None)

    def add(self, new: Sequence[NewCandidate]) -> list[CandidateRecord]:
        """The next candidates, inserted in one transaction where the store lacks them."""
        added: list[CandidateRecord] = []
        for candidate in new:
            stored = self._stored.take(candidate.number)
            if stored is None:
                break
            self._check_replay(stored, candidate)
            added.append(stored)
        if missing := new[len(added) :]:
            added += self.store.add_candidates(self.search.id, self.owner, missing)
        self.length += len(added)
        self._known.update({record.id: record for record in added})
        return added

    def new(
        self,
        recipe: Recipe,
        place: int,
        origin: Origin,
        *,
        label: str | None = None,
        genome: Genome | None = None,
        generation: int | None = None,
        asked_after: int | None = None,
        rival: int | None = None,
    ) -> NewCandidate:
        """The candidate `place` numbers after the last one walked."""
        genes = None if genome is None else tuple(float(gene) for gene in genome)
        return NewCandidate(
            number=self.length + place,
            origin=origin,
            recipe=recipe,
            generation=generation,
            label=label,
            genome=genes,
            asked_after=asked_after,
            rival=rival,
        )

    def finish(
        self, candidates: Sequence[CandidateRecord], split: Split, *, rival: int | None = None
    ) -> list[EvaluationRecord]:
        """Score candidates on a split; evaluations in the candidates' order, all final, graded.

        rival: the evaluation on that split which each of them has to beat.
        """
        self._known.update({candidate.id: candidate for candidate in candidates})
        evaluations = self.request(candidates, split, rival)
        for evaluation in evaluations:
            self.schedule(evaluation)
        ended: dict[int, EvaluationRecord] = {}
        while self.scheduler.busy:
            ended.update({evaluation.id: evaluation for evaluation in self.advance()})
        return [ended[evaluation.id] for evaluation in evaluations]

    def request(
        self, candidates: Sequence[CandidateRecord], split: Split, rival: int | None = None
    ) -> list[EvaluationRecord]:
        """The evaluations of candidates on a split, as they are; new ones are pending."""
        ids = [candidate.id for candidate in candidates]
        return self.store.request_evaluations(self.search.id, self.owner, ids, split, rival)

    def schedule(self, evaluation: EvaluationRecord) -> None:
        """Have one more evaluation brought to its end; `advance` hands it back."""
        race = None
        if evaluation.rival is not None and evaluation.status not in FINAL:
            references = self.references or References()
            race = self.races.plan(evaluation.rival, evaluation.split, references)
        if evaluation.status in FINAL:
            self._replayed.add(evaluation.id)
        self.scheduler.add(evaluation, self.candidate_of(evaluation), race)

    def advance(self) -> list[EvaluationRecord]:
        """What became final meanwhile, graded and announced."""
        ended = self.grade(self.scheduler.advance())
        for evaluation in ended:
            self.announce(evaluation, replayed=evaluation.id in self._replayed)
            self._replayed.discard(evaluation.id)
        return ended

    def announce(self, evaluation: EvaluationRecord, *, replayed: bool) -> None:
        """Say that an evaluation is final; `replayed` if it was before this run."""
        self.listener(Scored(self.candidate_of(evaluation), evaluation, replayed))

    def rival_in(self, evaluation: EvaluationRecord) -> int | None:
        """The evaluation as one that others have to beat; None where it is none, or nobody races."""
        scored = evaluation.status is EvaluationStatus.SCORED and not evaluation.violation
        return evaluation.id if scored and self.races.refusal(evaluation) is None else None

    def observe(self, evaluation: EvaluationRecord) -> Observation:
        """What a strategy, which minimises, is told of a graded evaluation."""
        fitness = fitness_of(evaluation)
        if fitness is None:
            return Observation(None)
        if self.search.spec.objective.number_of_objectives == 1:
            return Observation((-fitness.value,), (fitness.stderr or 0.0,), fitness.violation)
        values = compute_objectives(self.search.spec.objective, evaluation.scores, self.references)
        losses = tuple(-one.value for one in values)
        return Observation(losses, tuple(one.stderr or 0.0 for one in values), fitness.violation)

    def mark_told(self, losses: Mapping[int, float]) -> None:
        """Write down that the strategy was told these losses, by candidate id, in this order."""
        if losses:
            self.store.mark_told(self.search.id, self.owner, losses)

    def grade(self, evaluations: Sequence[EvaluationRecord]) -> list[EvaluationRecord]:
        """The evaluations with their fitness, which is stored where it is new.

        Before the references are known there is none.
        """
        if self.references is None:
            return list(evaluations)
        graded = [self.graded(evaluation) for evaluation in evaluations]
        new = {
            after.id: fitness
            for before, after in zip(evaluations, graded, strict=True)
            if before != after and (fitness := fitness_of(after)) is not None
        }
        if new:
            self.store.set_fitness(new)
        return graded

    def graded(self, evaluation: EvaluationRecord) -> EvaluationRecord:
        """The evaluation with its fitness under this search's objective; failures stay as they are."""
        if evaluation.status is EvaluationStatus.DROPPED:
            fitness = self.races.estimate(evaluation, self.references or References())
        elif evaluation.status is EvaluationStatus.SCORED:
            objective = self.search.spec.objective
            fitness = compute_fitness(objective, evaluation.scores, self.references)
        else:
            return evaluation
        return replace(
            evaluation,
            fitness=fitness.value,
            fitness_stderr=fitness.stderr,
            violation=fitness.violation,
        )

    def _check_replay(self, stored: CandidateRecord, walked: NewCandidate) -> None:
        if stored.recipe_id != walked.recipe.recipe_id:
            raise SpecError(
                f"candidate {stored.number} was {stored.recipe_id} and would now be "
                f"{walked.recipe.recipe_id}: the history cannot be continued",
                where=f"search {self.search.id}",
                remedy="resume with the versions that `evomerge status` names, or start a new search",
            )


def fitness_of(evaluation: EvaluationRecord) -> Fitness | None:
    """The stored fitness, or None where the evaluation failed."""
    if evaluation.fitness is None:
        return None
    return Fitness(evaluation.fitness, evaluation.fitness_stderr, evaluation.violation or 0.0)


def rank_key(result: EvaluationRecord | Standing) -> tuple[float, float]:
    """Bigger is better; failures come last."""
    if result.fitness is None:
        return (float("-inf"), float("-inf"))
    return Fitness(result.fitness, None, result.violation or 0.0).sort_key
