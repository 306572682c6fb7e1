"""What a search knows before its first candidate: where to start, what to try, what was scored.

The best baseline gives the start. Baselines that the space itself can express, and the candidates of
earlier searches over the same space, are told to the strategy as if it had asked for them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from evomerge.controller.baseline_phase import ScoredBaseline, best_baseline
from evomerge.controller.baselines import Baseline
from evomerge.controller.ledger import Ledger
from evomerge.recipe import Recipe, Source, constant
from evomerge.space import Genome, SearchSpace
from evomerge.spec import SearchSpec
from evomerge.store.parts import searched
from evomerge.store.types import EvaluationRecord, EvaluationStatus, Origin
from evomerge.strategy import Observation

GIVEN_LABEL = "given recipe"
_SOUPS = ("linear", "task_arithmetic")
"""Baselines that a weight for each task vector says in full."""
_SAME = 1e-4
"""Genes closer than this are one: a baseline's weights are written with six digits."""


@dataclass(frozen=True)
class Known:
    """A genome and what came of it."""

    genome: Genome
    observation: Observation


@dataclass(frozen=True)
class Start:
    """Where a search starts.

    genome: near the best baseline. best: that baseline. known: told to the strategy before its first
    ask. given: recipes that are tried first, each with its genome where the space has one.
    """

    genome: Genome
    best: Baseline
    known: tuple[Known, ...] = ()
    given: tuple[tuple[Recipe, Genome | None], ...] = ()


def make_start(ledger: Ledger, space: SearchSpace, baselines: Sequence[ScoredBaseline]) -> Start:
    """The start of a search whose baselines were scored."""
    spec = ledger.search.spec
    best = best_baseline(baselines)
    known = [*_from_baselines(ledger, space, baselines), *_from_searches(ledger, space)]
    given = tuple(_given(recipe, space) for recipe in spec.strategy.start.recipes)
    genome = encode(space, spec, best)
    # Bit for bit the genome that is told as known: no strategy then asks for that merge once more.
    same = (one.genome for one in known if np.allclose(one.genome, genome, rtol=0, atol=_SAME))
    return Start(next(same, genome), best, tuple(known), given)


def _given(recipe: Recipe | Path, space: SearchSpace) -> tuple[Recipe, Genome | None]:
    assert isinstance(recipe, Recipe), "read when the search was submitted"
    return recipe, space.genome_of(recipe)


def encode(space: SearchSpace, spec: SearchSpec, baseline: Baseline) -> Genome:
    """The genome nearest to a baseline."""
    weights = {model: baseline.weights.get(model, 0.0) for model in spec.models}
    values: Mapping[str, Any] = {**baseline.settings, "weight": weights, "lambda": 1.0}
    return space.encode(values, baseline.recipe.merge_method)


def _from_baselines(
    ledger: Ledger, space: SearchSpace, baselines: Sequence[ScoredBaseline]
) -> Iterator[Known]:
    for row in baselines:
        genome = space.genome_of(_as_task_vectors(row.baseline, space))
        if genome is not None:
            yield Known(genome, ledger.observe(row.evaluation))


def _as_task_vectors(baseline: Baseline, space: SearchSpace) -> Recipe:
    """A soup, said in the words of a task-arithmetic space; any other baseline as it is."""
    recipe = baseline.recipe
    if space.spec.method != "task_arithmetic" or recipe.merge_method not in _SOUPS:
        return recipe
    sources = [
        Source(model=model, parameters={"weight": constant(baseline.weights.get(model, 0.0))})
        for model in space.models
    ]
    return Recipe(
        merge_method="task_arithmetic", base_model=space.base_model, models=tuple(sources)
    )


def _from_searches(ledger: Ledger, space: SearchSpace) -> Iterator[Known]:
    """Every told candidate of the earlier searches that the file names."""
    own = ledger.search.spec
    assert own.strategy.start.searches != "auto", "resolved when the search was submitted"
    for search_id in own.strategy.start.searches:
        earlier = ledger.store.search(search_id)
        for candidate, evaluation in searched(ledger.store, earlier.id):
            if candidate.origin is Origin.SEARCH and candidate.genome is not None:
                yield from _known(ledger, np.array(candidate.genome), evaluation)


def _known(ledger: Ledger, genome: Genome, evaluation: EvaluationRecord) -> Iterator[Known]:
    """Under this search's own objective. A dropped one's estimate stands on another's rivals."""
    if evaluation.status is EvaluationStatus.SCORED:
        yield Known(genome, ledger.observe(ledger.graded(evaluation)))
