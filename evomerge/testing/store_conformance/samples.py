"""Searches, recipes and results to fill a store with."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from evomerge.fitness import Costs, EvaluationResult, Fitness, TaskOutcomes, TaskScore
from evomerge.recipe import Recipe, Source, constant
from evomerge.spec import SearchSpec
from evomerge.store import Store, make_owner
from evomerge.store.types import CandidateRecord, EvaluationRecord, NewCandidate, Origin

ALPHA, BETA = "alpha", "beta"


def make_spec(**changes: Any) -> SearchSpec:
    """A search over two experts and two tasks; `beta` is better when smaller."""
    content: dict[str, Any] = {
        "name": "sample",
        "base_model": "org/base",
        "models": ["org/b", "org/a"],
        "space": {
            "method": "ties",
            "weight": {"range": [0, 1.5], "per": ["model"]},
            "density": {"range": [0.05, 1], "scale": "log"},
        },
        "objective": {"tasks": [{"task": ALPHA}, {"task": BETA, "direction": "min"}]},
        "strategy": {"seed": 11},
    }
    return SearchSpec.model_validate({**content, **changes})


def make_recipe(weight: float) -> Recipe:
    """Equal weights give equal recipes."""
    parts = {"org/a": weight, "org/b": 1.0 - weight}
    sources = [Source(model=m, parameters={"weight": constant(w)}) for m, w in parts.items()]
    return Recipe(merge_method="linear", models=tuple(sources))


def make_candidate(number: int, weight: float | None = None, **changes: Any) -> NewCandidate:
    """A candidate of the search; its recipe follows from its number unless a weight is given."""
    recipe = make_recipe(number / 1000 if weight is None else weight)
    values: dict[str, Any] = {"origin": Origin.SEARCH, "genome": (0.1, number / 7), **changes}
    return NewCandidate(number=number, recipe=recipe, **values)


def make_result(value: float, documents: int = 20, *, dropped: bool = False) -> EvaluationResult:
    """Two tasks: `alpha` scores `value` in accuracy, `beta` ten times that in perplexity."""
    rng = np.random.default_rng(int(value * 1000))
    outcomes = tuple(
        TaskOutcomes(task, tuple(range(5, 5 + documents)), {metric: rng.normal(size=documents)})
        for task, metric in ((ALPHA, "acc"), (BETA, "ppl"))
    )
    scores = (
        TaskScore(ALPHA, "acc", value, 0.01, documents, headline=True),
        TaskScore(ALPHA, "margin", value / 3, None, documents),
        TaskScore(BETA, "ppl", 10 * value, 0.1, documents, headline=True),
    )
    return EvaluationResult(scores, outcomes, Costs(0.1, 0.2, 1 / 3, 0.05, 1234), dropped)


@dataclass
class Held:
    """A search whose lease the test holds."""

    store: Store
    id: str
    owner: str

    def add(self, *candidates: NewCandidate) -> list[CandidateRecord]:
        """Candidates of the search."""
        return self.store.add_candidates(self.id, self.owner, candidates)

    def evaluations(self) -> list[EvaluationRecord]:
        """All of them."""
        return self.store.evaluations(self.id)

    def score(self, evaluation_id: int, value: float, violation: float = 0.0) -> None:
        """Score an evaluation, and give it a fitness."""
        attempt = self.store.begin_attempt(evaluation_id, "worker")
        assert self.store.finish_attempt(evaluation_id, attempt, make_result(value))
        self.store.set_fitness({evaluation_id: Fitness(value, 0.01, violation)})


def hold(store: Store, *, scope: str = "scope", search_id: str | None = None, **spec: Any) -> Held:
    """A new search, and its lease."""
    search = store.create_search(
        make_spec(**spec), scope=scope, versions={"evomerge": "0"}, search_id=search_id
    )
    owner = make_owner()
    store.acquire_lease(search.id, owner, 60)
    return Held(store, search.id, owner)
