"""The end of a search: an honest winner.

The best candidates by search score meet again on validation documents, which the search never saw: the
first answers all of them, each other one races against it and leaves as soon as it is clearly worse. The
winner and all baselines answer the test documents, once.
"""

from collections.abc import Sequence
from itertools import takewhile

import numpy as np

from evomerge.controller.baseline_phase import ScoredBaseline
from evomerge.controller.events import Listener, Note, PhaseStarted
from evomerge.controller.evolution import MEAN_LABEL
from evomerge.controller.ledger import Ledger, rank_key
from evomerge.fitness import Split
from evomerge.pareto import pareto_ranks, spread_subset
from evomerge.store.parts import parts
from evomerge.store.types import CandidateRecord, EvaluationStatus, Standing
from evomerge.strategy import Observation


def run_finals(ledger: Ledger, baselines: Sequence[ScoredBaseline], listener: Listener) -> None:
    """Validate the finalists, then test the winner, or the front, beside all baselines."""
    splits = ledger.search.spec.objective.splits
    finalists = find_finalists(ledger)
    if not finalists:
        listener(Note("no candidate of the search could be scored; there is no winner"))
        return
    if splits.validation > 0:
        listener(PhaseStarted("validation", len(finalists)))
        _validate(ledger, finalists)
        validated = ledger.store.standings(ledger.search.id, Split.VALIDATION)
        finalists = _records(ledger, _best(ledger, Split.VALIDATION, validated))
    if not finalists:
        listener(Note("no finalist could be scored on the validation split; there is no winner"))
    elif splits.test > 0:
        winners = finalists if _has_several(ledger) else finalists[:1]
        rivals = [row.candidate for row in baselines]
        listener(PhaseStarted("test", len(winners) + len(rivals)))
        ledger.finish([*winners, *rivals], Split.TEST)


def _has_several(ledger: Ledger) -> bool:
    return ledger.search.spec.objective.number_of_objectives > 1


def _records(ledger: Ledger, chosen: Sequence[Standing]) -> list[CandidateRecord]:
    return [ledger.store.candidate(standing.candidate_id) for standing in chosen]


def _best(ledger: Ledger, split: Split, tried: Sequence[Standing]) -> list[Standing]:
    """The scored ones, best first; with several objectives those alone that no other one beats."""
    ranked = _ranked(tried, EvaluationStatus.SCORED)
    if not _has_several(ledger) or not ranked:
        return ranked
    observations = _observations(ledger, split)
    observed = [observations[standing.candidate_id] for standing in ranked]
    points_NM = -np.array([one.losses for one in observed], dtype=np.float64)
    violations_N = np.array([one.violation for one in observed])
    front = np.flatnonzero(pareto_ranks(points_NM, violations_N) == 0)
    chosen = spread_subset(points_NM[front], ledger.search.spec.selection.top)
    return [ranked[front[place]] for place in chosen]


def _validate(ledger: Ledger, finalists: Sequence[CandidateRecord]) -> None:
    """The chance that the best of them is dropped is the file's error, shared by all races.

    With several objectives nobody races: one that is behind in most of them may be on the front.
    """
    if _has_several(ledger):
        ledger.finish(finalists, Split.VALIDATION)
        return
    first, *others = finalists
    (leader,) = ledger.finish([first], Split.VALIDATION)
    ledger.finish(others, Split.VALIDATION, rival=ledger.rival_in(leader))


def find_finalists(ledger: Ledger) -> list[CandidateRecord]:
    """The best of the search by search score, each recipe once, and the distribution's mean.

    Places that are left go to the best estimates of those that left a race: one may have been
    unlucky, and a search that found nothing better than its baselines still says what it found.
    """
    tried = ledger.store.standings(ledger.search.id, Split.SEARCH)
    ranked = _best(ledger, Split.SEARCH, tried)
    ranked += _ranked(tried, EvaluationStatus.DROPPED)
    unique = list({candidate.recipe_id: candidate for candidate in reversed(ranked)}.values())[::-1]
    chosen = unique[: ledger.search.spec.selection.top]
    means = [candidate for candidate in unique if candidate.label == MEAN_LABEL]
    return _records(ledger, chosen + [mean for mean in means if mean not in chosen])


def _ranked(tried: Sequence[Standing], status: EvaluationStatus) -> list[Standing]:
    """Those of a status, best first; equal ones as they came, by number."""
    return sorted((one for one in tried if one.status is status), key=rank_key, reverse=True)


def _observations(ledger: Ledger, split: Split) -> dict[int, Observation]:
    """What a strategy would be told of every scored candidate, by its id."""
    found: dict[int, Observation] = {}
    for part in takewhile(lambda part: part.start < ledger.length, parts()):
        for evaluation in ledger.store.evaluations(ledger.search.id, split, part):
            if evaluation.status is EvaluationStatus.SCORED:
                found[evaluation.candidate_id] = ledger.observe(evaluation)
    return found
