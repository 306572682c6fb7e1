"""What can be learned from a search beside its winner, from the store alone.

`history` is its course, `importance` says which parameters mattered, `spending` where time and
documents went. Plain values: the report draws them, the command line prints them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evomerge.errors import ResourceError
from evomerge.fitness import Split
from evomerge.insight.features import feature_table
from evomerge.insight.history import Point, read_history
from evomerge.insight.importance import Effect, Importance, parameter_importance, sample
from evomerge.insight.spending import Documents, Spending, read_spending
from evomerge.store.api import Store
from evomerge.store.types import (
    AnyCandidate,
    CandidateRecord,
    EvaluationRecord,
    Origin,
    SearchRecord,
)


@dataclass(frozen=True)
class Insight:
    """All of it."""

    history: tuple[Point, ...]
    importance: Importance
    spending: Spending


def read_insight(store: Store, search: SearchRecord) -> Insight:
    """The insight into a search as far as it has got.

    Where scikit-learn is not installed, the note of `importance` says so.
    """
    candidates, evaluations = store.entrants(search.id), store.evaluations(search.id)
    return Insight(
        history=read_history(candidates, evaluations),
        importance=read_importance(candidates, evaluations, store.candidate),
        spending=read_spending(store, search.id, candidates, evaluations),
    )


def read_importance(
    candidates: Sequence[AnyCandidate],
    evaluations: Sequence[EvaluationRecord],
    read: Callable[[int], CandidateRecord],
) -> Importance:
    """What mattered among the search's candidates that have a fitness, each recipe once.

    read: gives the whole of a candidate by its id.
    """
    found = {e.candidate_id: e for e in evaluations if e.split is Split.SEARCH}
    unique = {
        c.recipe_id: (c, found[c.id])
        for c in candidates
        if c.origin is Origin.SEARCH and c.id in found and found[c.id].fitness is not None
    }
    everyone = list(unique.values())
    chosen = [everyone[place] for place in sample(len(everyone))]
    tried = [(read(candidate.id), evaluation) for candidate, evaluation in chosen]
    table = feature_table([c.recipe for c, _ in tried], [c.genome for c, _ in tried])
    fitness = np.array([e.fitness for _, e in tried], float)
    stderr = np.array([e.fitness_stderr or 0.0 for _, e in tried], float)
    try:
        return parameter_importance(table, fitness, stderr)
    except ResourceError as error:
        return Importance(len(tried), note=f"{error.message}: {error.remedy}")


__all__ = [
    "Documents",
    "Effect",
    "Importance",
    "Insight",
    "Point",
    "Spending",
    "read_importance",
    "read_insight",
]
