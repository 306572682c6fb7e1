"""A search's candidates as the controller walks past them: found in the store, or added to it.

The walk is the same every time. A candidate that the store has already must be the one that the
walk arrives at; if it is not, something that decides the history has changed, and the search stops
rather than going on with another one.
"""

from collections.abc import Sequence
from dataclasses import replace

from evomerge.controller.scheduling import Scheduler
from evomerge.errors import SpecError
from evomerge.fitness import (
    Fitness,
    References,
    Split,
    TaskScore,
    compute_fitness,
    needs_references,
)
from evomerge.recipe import Recipe
from evomerge.space import Genome
from evomerge.store.api import Store
from evomerge.store.types import (
    CandidateRecord,
    EvaluationRecord,
    EvaluationStatus,
    NewCandidate,
    Origin,
    SearchRecord,
)


class Ledger:
    """Adds candidates in order, has them scored, and grades the scores."""

    def __init__(
        self, store: Store, search: SearchRecord, owner: str, scheduler: Scheduler
    ) -> None:
        self.store, self.search, self.owner = store, search, owner
        needed = needs_references(search.spec.objective)
        self.references: References | None = None if needed else References()
        self._scheduler = scheduler
        self._stored = {c.number: c for c in store.candidates(search.id)}
        self._walked: dict[int, CandidateRecord] = {}
        self._by_id: dict[int, CandidateRecord] = {}

    @property
    def walked(self) -> tuple[CandidateRecord, ...]:
        """The candidates passed so far, by number."""
        return tuple(self._walked.values())

    def add(self, new: Sequence[NewCandidate]) -> list[CandidateRecord]:
        """The next candidates, inserted in one transaction where the store lacks them."""
        missing = [candidate for candidate in new if candidate.number not in self._stored]
        for candidate in new:
            if candidate.number in self._stored:
                self._check_replay(self._stored[candidate.number], candidate)
        for record in self.store.add_candidates(self.search.id, self.owner, missing):
            self._stored[record.number] = record
        added = [self._stored[candidate.number] for candidate in new]
        self._walked.update({record.number: record for record in added})
        self._by_id.update({record.id: record for record in added})
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
    ) -> NewCandidate:
        """The candidate `place` numbers after the last one walked."""
        genes = None if genome is None else tuple(float(gene) for gene in genome)
        return NewCandidate(len(self._walked) + place, origin, recipe, generation, label, genes)

    def finish(self, candidates: Sequence[CandidateRecord], split: Split) -> list[EvaluationRecord]:
        """Score candidates on a split; evaluations in the candidates' order, all final, graded."""
        evaluations = self.store.request_evaluations(
            self.search.id, self.owner, [candidate.id for candidate in candidates], split
        )
        return self._scheduler.finish(evaluations, self._by_id, self.grade)

    def grade(self, evaluations: Sequence[EvaluationRecord]) -> list[EvaluationRecord]:
        """The evaluations with their fitness, which is stored where it is new.

        Before the references are known there is none.
        """
        if self.references is None:
            return list(evaluations)
        graded = [self._graded(evaluation) for evaluation in evaluations]
        new = {
            after.id: fitness
            for before, after in zip(evaluations, graded, strict=True)
            if before != after and (fitness := fitness_of(after)) is not None
        }
        if new:
            self.store.set_fitness(new)
        return graded

    def results(self, split: Split) -> dict[int, EvaluationRecord]:
        """Every evaluation on a split, by candidate id."""
        return {e.candidate_id: e for e in self.store.evaluations(self.search.id, split)}

    def _graded(self, evaluation: EvaluationRecord) -> EvaluationRecord:
        if evaluation.status is not EvaluationStatus.SCORED:
            return evaluation
        fitness = compute_fitness(self.search.spec.objective, evaluation.scores, self.references)
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


def headline_scores(evaluation: EvaluationRecord) -> dict[str, float]:
    """The objective's metric of each task."""
    return {score.task: score.value for score in _headlines(evaluation)}


def _headlines(evaluation: EvaluationRecord) -> list[TaskScore]:
    return [score for score in evaluation.scores if score.headline]


def fitness_of(evaluation: EvaluationRecord) -> Fitness | None:
    """The stored fitness, or None where the evaluation failed."""
    if evaluation.fitness is None:
        return None
    return Fitness(evaluation.fitness, evaluation.fitness_stderr, evaluation.violation or 0.0)


def rank_key(evaluation: EvaluationRecord) -> tuple[float, float]:
    """Bigger is better; failures come last."""
    fitness = fitness_of(evaluation)
    return (float("-inf"), float("-inf")) if fitness is None else fitness.sort_key
