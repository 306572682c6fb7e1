"""How much too good a winner's search score is.

Whoever is best of many on the same documents owes a part of the score to these documents. The
bootstrap says how much (Tsamardinos, Greasidou & Borboudakis 2018): resample the documents, choose
the best candidate on them, and read its score on the documents that the resample left out. The mean of
those scores is what the best search score is worth; the difference is its expected optimism. It covers
the choice alone: that the search moved towards these documents on its way comes on top.

Shapes: B resamples, K candidates, N documents of a task.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from evomerge.bootstrap import Z95, Estimate, Floats, resample_counts
from evomerge.comparison import Comparison
from evomerge.errors import TaskError
from evomerge.fitness import (
    Objective,
    References,
    Split,
    TaskOutcomes,
    documents_behind,
    fitness_of_draws,
)
from evomerge.results.types import Optimism
from evomerge.store.api import Store
from evomerge.store.types import EvaluationRecord

_SEED = 20_250_103
_CANDIDATES = 100
"""So many of the best are looked at: no resample makes the others the best of all."""
_RESAMPLES = 400
_CUSTOM_RESAMPLES, _CUSTOM_CANDIDATES = 200, 50
"""A custom objective is called for each candidate in each resample."""


def read_optimism(
    store: Store,
    objective: Objective,
    references: References,
    tried: Sequence[EvaluationRecord],
    winner: Mapping[Split, EvaluationRecord],
) -> Optimism | None:
    """The optimism of a search.

    Args:
        tried: the search's candidates on all search documents, each recipe once.
        winner: the winner's evaluations.
    """
    searched, tested = winner.get(Split.SEARCH), winner.get(Split.TEST)
    if searched is None or searched.fitness is None:
        return None
    best = sorted((e for e in tried if not e.violation), key=lambda e: -(e.fitness or -math.inf))
    chosen = best[: _CUSTOM_CANDIDATES if objective.custom else _CANDIDATES]
    outcomes = [store.outcomes(evaluation.id) for evaluation in chosen]
    return Optimism(
        search=searched.fitness,
        test=None if tested is None else tested.fitness,
        gap=None if tested is None else _gap(store, objective, references, searched, tested),
        expected=expected_optimism(objective, references, chosen, outcomes),
        candidates=len(best),
        documents=searched.documents,
    )


def _gap(
    store: Store,
    objective: Objective,
    references: References,
    searched: EvaluationRecord,
    tested: EvaluationRecord,
) -> Estimate | None:
    """Search minus test score; the two splits share no document, so their errors are independent."""
    if searched.fitness is None or tested.fitness is None:
        return None
    gap = searched.fitness - tested.fitness
    alone = [
        Comparison(objective, references, [one], [store.outcomes(one.id)])
        for one in (searched, tested)
    ]
    errors = [error for one in alone if (error := one.fitness_stderr(0)) is not None]
    if len(errors) < len(alone):
        return Estimate(gap)
    return Estimate(gap, gap - Z95 * math.hypot(*errors), gap + Z95 * math.hypot(*errors))


def expected_optimism(
    objective: Objective,
    references: References,
    evaluations: Sequence[EvaluationRecord],
    outcomes: Sequence[Sequence[TaskOutcomes]],
) -> float | None:
    """By how much the best of these search scores is too high, given they are all there is.

    None for a single candidate, and where scores are no means of documents that all have answered.
    """
    tables = _tables(objective, evaluations, outcomes)
    if tables is None or len(evaluations) < 2:
        return None
    resamples = _CUSTOM_RESAMPLES if objective.custom else _RESAMPLES
    try:
        return _optimism(objective, references, tables, resamples)
    except TaskError:  # a custom objective that knows nothing of scores so far out
        return None


def _optimism(
    objective: Objective, references: References, tables: Mapping[str, Floats], resamples: int
) -> float:
    inside, outside = _resampled(tables, resamples)
    whole_K = _fitness(objective, references, {t: v.mean(axis=1)[None] for t, v in tables.items()})
    inside_BK = _fitness(objective, references, inside)
    outside_BK = _fitness(objective, references, outside)
    # An objective that bends (the worst task) is biased on the fewer documents outside: that is no
    # optimism, so each candidate is centred where it stands on all documents.
    outside_BK += whole_K - outside_BK.mean(axis=0)
    chosen_B = inside_BK.argmax(axis=1)
    return float(whole_K.max() - outside_BK[np.arange(len(chosen_B)), chosen_B].mean())


def _fitness(objective: Objective, references: References, draws: Mapping[str, Floats]) -> Floats:
    flat = {task: values.ravel() for task, values in draws.items()}
    shape = next(iter(draws.values())).shape
    return fitness_of_draws(objective, flat, references).reshape(shape)


def _resampled(
    tables: Mapping[str, Floats], resamples: int
) -> tuple[dict[str, Floats], dict[str, Floats]]:
    """Each candidate's mean over a resample and over what it left out, as (B, K) for each task."""
    inside, outside, usable = {}, {}, np.ones(resamples, bool)
    for place, (task, values_KN) in enumerate(tables.items()):
        generator = np.random.default_rng([_SEED, place])
        counts_BN = resample_counts(generator, resamples, values_KN.shape[1])
        left_BN = (counts_BN == 0).astype(float)
        usable &= left_BN.any(axis=1)
        inside[task] = counts_BN @ values_KN.T / counts_BN.sum(axis=1, keepdims=True)
        outside[task] = left_BN @ values_KN.T / np.maximum(left_BN.sum(axis=1, keepdims=True), 1)
    return (
        {task: found[usable] for task, found in inside.items()},
        {task: found[usable] for task, found in outside.items()},
    )


def _tables(
    objective: Objective,
    evaluations: Sequence[EvaluationRecord],
    outcomes: Sequence[Sequence[TaskOutcomes]],
) -> dict[str, Floats] | None:
    """Each task's values as (K, N) over the same documents; None where they are not all there."""
    tables = {}
    for task in (task.task for task in objective.tasks):
        rows = []
        for evaluation, found in zip(evaluations, outcomes, strict=True):
            own = next((one for one in found if one.task == task), None)
            rows.append(documents_behind(evaluation.headlines[task], own))
        same = all(row.keys() == rows[0].keys() for row in rows)
        if not same or len(rows[0]) < 2:
            return None
        tables[task] = np.array([[row[number] for number in sorted(rows[0])] for row in rows])
    return tables
