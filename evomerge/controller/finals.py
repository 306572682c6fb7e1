"""The end of a search: an honest winner.

The best candidates by search score meet again on validation documents, which the search never saw: the
first answers all of them, each other one races against it and leaves as soon as it is clearly worse. The
winner and all baselines answer the test documents, once.
"""

from collections.abc import Sequence

from evomerge.controller.baseline_phase import ScoredBaseline
from evomerge.controller.events import Listener, Note, PhaseStarted
from evomerge.controller.evolution import MEAN_LABEL
from evomerge.controller.ledger import Ledger, rank_key
from evomerge.fitness import Split
from evomerge.store.types import CandidateRecord, EvaluationStatus, Origin


def run_finals(ledger: Ledger, baselines: Sequence[ScoredBaseline], listener: Listener) -> None:
    """Validate the finalists, then test the winner beside all baselines."""
    splits = ledger.search.spec.objective.splits
    finalists = find_finalists(ledger)
    if not finalists:
        listener(Note("no candidate of the search could be scored; there is no winner"))
        return
    if splits.validation > 0:
        listener(PhaseStarted("validation", len(finalists)))
        _validate(ledger, finalists)
        finalists = _ranked(ledger, finalists, Split.VALIDATION)
    if not finalists:
        listener(Note("no finalist could be scored on the validation split; there is no winner"))
    elif splits.test > 0:
        rivals = [row.candidate for row in baselines]
        listener(PhaseStarted("test", 1 + len(rivals)))
        ledger.finish([finalists[0], *rivals], Split.TEST)


def _validate(ledger: Ledger, finalists: Sequence[CandidateRecord]) -> None:
    """The chance that the best of them is dropped is the file's error, shared by all races."""
    first, *others = finalists
    (leader,) = ledger.finish([first], Split.VALIDATION)
    ledger.finish(others, Split.VALIDATION, rival=ledger.rival_in(leader))


def find_finalists(ledger: Ledger) -> list[CandidateRecord]:
    """The best of the search by search score, each recipe once, and the distribution's mean.

    Where every candidate lost its race, those with the best estimates: a search that found nothing
    better than its baselines still says what it found.
    """
    tried = [candidate for candidate in ledger.walked if candidate.origin is Origin.SEARCH]
    ranked = _ranked(ledger, tried, Split.SEARCH)
    if not ranked:
        ranked = _ranked(ledger, tried, Split.SEARCH, EvaluationStatus.DROPPED)
    unique = list({candidate.recipe_id: candidate for candidate in reversed(ranked)}.values())[::-1]
    chosen = unique[: ledger.search.spec.selection.top]
    means = [candidate for candidate in unique if candidate.label == MEAN_LABEL]
    return chosen + [mean for mean in means if mean not in chosen]


def _ranked(
    ledger: Ledger,
    candidates: Sequence[CandidateRecord],
    split: Split,
    status: EvaluationStatus = EvaluationStatus.SCORED,
) -> list[CandidateRecord]:
    """Those of a status, the scored ones, best first; equal ones by number."""
    results = ledger.results(split)
    scored = [
        (results[candidate.id], candidate)
        for candidate in candidates
        if results[candidate.id].status is status
    ]
    scored.sort(key=lambda pair: pair[1].number)
    scored.sort(key=lambda pair: rank_key(pair[0]), reverse=True)
    return [candidate for _, candidate in scored]
