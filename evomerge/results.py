"""What a search found: the winner beside every baseline, with intervals, from the store alone.

One place for the command line, the report and programs. The winner is the search's candidate that
was scored on the test split; where a search has none, or has not got so far, the best candidate up to
now stands in and a note says what its scores are worth.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evomerge.bootstrap import Estimate
from evomerge.comparison import Comparison
from evomerge.controller.baselines import GREEDY_SOUP
from evomerge.fitness import Fitness, References, Split, make_references
from evomerge.recipe import Recipe
from evomerge.store.api import Store
from evomerge.store.types import (
    CandidateRecord,
    EvaluationRecord,
    EvaluationStatus,
    Origin,
    SearchRecord,
)

Scored = dict[int, EvaluationRecord]
"""Scored evaluations on one split by candidate id."""


@dataclass(frozen=True)
class Row:
    """One line of the table. `lead` is the winner's fitness minus this row's, paired if `paired`."""

    candidate_id: int
    number: int
    label: str
    recipe_id: str
    fitness: Estimate
    scores: Mapping[str, Estimate]
    search_fitness: float | None
    violation: float = 0.0
    lead: Estimate | None = None
    paired: bool = False


@dataclass(frozen=True)
class Results:
    """The outcome of a search so far. `metrics` names each task's; `documents` counts them."""

    search_id: str
    name: str
    status: str
    split: Split
    metrics: Mapping[str, str]
    documents: Mapping[str, int]
    winner: Row | None
    recipe: Recipe | None
    baselines: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    @property
    def best_baseline(self) -> Row | None:
        """The baseline with the best fitness in this very table: the hardest one to beat."""
        return max(self.baselines, key=_rank, default=None)

    @property
    def rows(self) -> tuple[Row, ...]:
        """Winner and baselines, best first."""
        everyone = (*self.baselines, *([self.winner] if self.winner else []))
        return tuple(sorted(everyone, key=_rank, reverse=True))

    @property
    def sentence(self) -> str:
        """Whether, and by how much, the search beat the best trivial merge."""
        return _sentence(self)


def _rank(row: Row) -> tuple[float, float]:
    return Fitness(row.fitness.value, None, row.violation).sort_key


def read_results(store: Store, search: SearchRecord) -> Results:
    """The results of a search; rows are empty where nothing was scored yet."""
    candidates = store.candidates(search.id)
    scored = scored_by_split(store, search.id)
    winner = find_winner(candidates, scored)
    split = _table_split(winner, candidates, scored)
    rivals = [c for c in candidates if is_baseline(c) and c.id in scored[split]]
    shown = [*([winner] if winner else []), *rivals]
    references = _references(search, candidates, scored[Split.SEARCH])
    evaluations = [scored[split][candidate.id] for candidate in shown]
    comparison = Comparison(
        search.spec.objective, references, evaluations, [store.outcomes(e.id) for e in evaluations]
    )
    rows = [
        _row(place, candidate, comparison, scored[Split.SEARCH], winner is not None)
        for place, candidate in enumerate(shown)
    ]
    return Results(
        search_id=search.id,
        name=search.name,
        status=search.status.value,
        split=split,
        metrics=comparison.metrics,
        documents=comparison.documents,
        winner=rows[0] if winner else None,
        recipe=winner.recipe if winner else None,
        baselines=tuple(rows[1:] if winner else rows),
        notes=(*_notes(split, winner, scored), *comparison.notes),
    )


def find_winner(
    candidates: Sequence[CandidateRecord], scored: Mapping[Split, Scored]
) -> CandidateRecord | None:
    """The search's candidate on the latest split that any was scored on; the best one there."""
    tried = [candidate for candidate in candidates if candidate.origin is Origin.SEARCH]
    for split in (Split.TEST, Split.VALIDATION, Split.SEARCH):
        found = [candidate for candidate in tried if candidate.id in scored[split]]
        if found:
            return max(found, key=lambda c: _evaluation_rank(scored[split][c.id]))
    return None


def _evaluation_rank(evaluation: EvaluationRecord) -> tuple[float, float]:
    if evaluation.fitness is None:
        return (float("-inf"), float("-inf"))
    return Fitness(evaluation.fitness, None, evaluation.violation or 0.0).sort_key


def scored_by_split(store: Store, search_id: str) -> dict[Split, Scored]:
    """The scored evaluations of a search."""
    found: dict[Split, Scored] = {split: {} for split in Split}
    for evaluation in store.evaluations(search_id):
        if evaluation.status is EvaluationStatus.SCORED:
            found[evaluation.split][evaluation.candidate_id] = evaluation
    return found


def is_baseline(candidate: CandidateRecord) -> bool:
    """Greedy soup's trials are steps to a baseline, not baselines."""
    trial = (candidate.label or "").startswith(f"{GREEDY_SOUP}, trial")
    return candidate.origin is Origin.BASELINE and not trial


def _table_split(
    winner: CandidateRecord | None,
    candidates: Sequence[CandidateRecord],
    scored: Mapping[Split, Scored],
) -> Split:
    """The test split where winner and baselines are on it, else the search split."""
    tested = scored[Split.TEST]
    rivals = any(is_baseline(candidate) and candidate.id in tested for candidate in candidates)
    return Split.TEST if winner and winner.id in tested and rivals else Split.SEARCH


def _references(
    search: SearchRecord, candidates: Sequence[CandidateRecord], scored: Scored
) -> References:
    """Scores of base and best expert on the search split, as the controller has them."""
    by_model: dict[str, dict[str, float]] = {}
    for candidate in candidates:
        models = candidate.recipe.models or ()
        if candidate.origin is Origin.BASELINE and len(models) == 1 and candidate.id in scored:
            headlines = [s for s in scored[candidate.id].scores if s.headline]
            by_model.setdefault(models[0].model, {s.task: s.value for s in headlines})
    base = by_model.pop(search.spec.base_model, {})
    experts = list(by_model.values())
    if not base or not experts:
        return References(base)
    return make_references(search.spec.objective, base, experts)


def _row(
    place: int, candidate: CandidateRecord, comparison: Comparison, searched: Scored, won: bool
) -> Row:
    evaluation = searched.get(candidate.id)
    lead, paired = comparison.lead(0, place) if won and place > 0 else (None, False)
    return Row(
        candidate_id=candidate.id,
        number=candidate.number,
        label=label_of(candidate),
        recipe_id=candidate.recipe_id,
        fitness=comparison.fitness(place),
        scores=comparison.scores(place),
        search_fitness=evaluation.fitness if evaluation else None,
        violation=comparison.violation(place),
        lead=lead,
        paired=paired,
    )


def label_of(candidate: CandidateRecord) -> str:
    """What people call a candidate: a baseline's name, or its number in the search."""
    if candidate.origin is Origin.BASELINE and candidate.label:
        return candidate.label
    extra = f" ({candidate.label})" if candidate.label else ""
    return f"candidate {candidate.number}{extra}"


def _notes(
    split: Split, winner: CandidateRecord | None, scored: Mapping[Split, Scored]
) -> list[str]:
    if winner is None or split is Split.TEST:
        return []
    chosen = "validation" if winner.id in scored[Split.VALIDATION] else "search"
    return [
        f"There are no test scores: the winner was chosen on the {chosen} split and all rows show "
        "the search split, which the search climbed. Its scores are too good to be true."
    ]


def _sentence(results: Results) -> str:
    winner, best = results.winner, results.best_baseline
    if winner is None:
        return "No candidate of the search has been scored."
    if best is None or best.lead is None:
        return f"The winner is {winner.label}; there is no baseline to compare it with."
    lead, where = best.lead, f"{sum(results.documents.values())} {results.split.value} documents"
    amount = f"{abs(lead.value):.4f}"
    interval = (
        f"95 % interval {lead.low:+.4f} to {lead.high:+.4f}, {'paired' if best.paired else 'unpaired'}"
        if lead.low is not None and lead.high is not None
        else "no interval known"
    )
    if winner.violation > 0 and best.violation == 0:
        verdict = (
            f"found nothing that keeps every constraint, as {best.label} does: it is no winner"
        )
    elif lead.low is not None and lead.low > 0:
        verdict = f"beat the best trivial merge ({best.label}) by {amount}"
    elif lead.value > 0:
        verdict = (
            f"came out {amount} above the best trivial merge ({best.label}), which may be chance"
        )
    elif lead.value == 0:
        verdict = f"only equalled the best trivial merge ({best.label})"
    else:
        verdict = f"did not beat the best trivial merge: {best.label} is {amount} better"
    return f"The search {verdict} on {where} ({interval})."
