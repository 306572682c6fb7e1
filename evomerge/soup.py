"""The steps of a greedy soup, read from a search's rows."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from evomerge.controller.baselines import GREEDY_SOUP
from evomerge.errors import NotFoundError
from evomerge.fitness import Split
from evomerge.store.api import Store
from evomerge.store.types import CandidateRecord, EvaluationRecord, SearchRecord


@dataclass(frozen=True)
class Step:
    """One model tried: `size` models were averaged; `fitness` is None where that failed."""

    model: str
    size: int
    fitness: float | None
    stderr: float | None
    kept: bool
    candidate_id: int


def soup_steps(store: Store, search: SearchRecord) -> tuple[Step, ...]:
    """Every step, the best single model first. Raises NotFoundError before the soup is made."""
    candidates = store.candidates(search.id)
    made = [candidate for candidate in candidates if candidate.label == GREEDY_SOUP]
    if not made:
        raise NotFoundError(
            "has no greedy soup yet",
            where=f"search {search.id}",
            remedy=f"see how far it is: evomerge status {search.id}",
        )
    members = _models(made[0])
    scored = {e.candidate_id: e for e in store.evaluations(search.id, Split.SEARCH)}
    tried = [*_first(candidates, members[0]), *_trials(candidates)]
    return tuple(_step(candidate, scored[candidate.id], members) for candidate in tried)


def _models(candidate: CandidateRecord) -> list[str]:
    return [source.model for source in candidate.recipe.sources()]


def _first(candidates: list[CandidateRecord], best: str) -> Iterator[CandidateRecord]:
    """The candidate that the best model is alone."""
    for candidate in candidates:
        if _models(candidate) == [best]:
            yield candidate
            return


def _trials(candidates: list[CandidateRecord]) -> Iterator[CandidateRecord]:
    for candidate in candidates:
        if (candidate.label or "").startswith(f"{GREEDY_SOUP}, trial"):
            yield candidate


def _step(candidate: CandidateRecord, evaluation: EvaluationRecord, members: list[str]) -> Step:
    models = _models(candidate)
    return Step(
        model=Path(models[-1]).name or models[-1],
        size=len(models),
        fitness=evaluation.fitness,
        stderr=evaluation.fitness_stderr,
        kept=models[-1] in members,
        candidate_id=candidate.id,
    )
