"""Results read from the store: who won, the table on the latest split, the front, the optimism."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeVar

from evomerge.comparison import Comparison
from evomerge.controller.baselines import GREEDY_SOUP
from evomerge.controller.ledger import rank_key
from evomerge.controller.references import references_from
from evomerge.fitness import Objective, References, Split
from evomerge.recipe import Recipe
from evomerge.results.front import find_front, make_front, objectives_of
from evomerge.results.optimism import read_optimism
from evomerge.results.types import Front, Optimism, Results, Row
from evomerge.store.api import Store
from evomerge.store.types import (
    AnyCandidate,
    CandidateRecord,
    EvaluationRecord,
    EvaluationStatus,
    Origin,
    SearchRecord,
)

_C = TypeVar("_C", bound=AnyCandidate)
Scored = dict[int, EvaluationRecord]
"""Evaluations on all documents of one split, by candidate id."""


def read_results(store: Store, search: SearchRecord) -> Results:
    """The results of a search; rows are empty where nothing was scored yet."""
    return _results(_Found(store, search), search, whole=True)


def read_table(
    store: Store,
    search: SearchRecord,
    chosen: Sequence[tuple[CandidateRecord, EvaluationRecord]],
) -> Results:
    """The results as far as some of a search's candidates tell them: baselines, finalists, the best.

    Costs the same however long the search was. There is neither a front nor an optimism in it: these
    need every candidate.
    """
    return _results(_Found(store, search, chosen), search, whole=False)


def _results(found: "_Found", search: SearchRecord, *, whole: bool) -> Results:
    split, winner = found.table_split, found.winner
    shown = [*([winner] if winner else []), *found.rivals(split)]
    comparison = found.compare(shown, split)
    rows = found.rows(shown, comparison, won=winner is not None)
    return Results(
        search_id=search.id,
        name=search.name,
        status=search.status.value,
        split=split,
        metrics=comparison.metrics,
        documents=comparison.documents,
        winner=rows[0] if winner else None,
        recipe=found.recipe,
        baselines=tuple(rows[1:] if winner else rows),
        notes=(
            *_notes(split, winner, found.scored),
            *comparison.notes,
            *_stand_in(search.spec.objective),
        ),
        climbed=_climbed(search.spec.objective),
        optimism=found.optimism() if whole and not comparison.notes else None,
        front=found.front() if whole and not comparison.notes else None,
    )


def _stand_in(objective: Objective) -> list[str]:
    """What fitness is not, where there are several objectives."""
    if objective.number_of_objectives < 2:
        return []
    what = "mean of the objectives" if objective.custom else "weighted mean of the tasks"
    return [f"Fitness is the {what} and only stands in: what was searched for is the front."]


def _climbed(objective: Objective) -> str:
    """What fitness is, where it is not the mean."""
    if objective.custom:
        return f"the objective {objective.custom!r}"
    return "the worst task" if objective.goal == "worst" else ""


class _Found:
    """A search's rows in the store, and the tables that are made of them."""

    def __init__(
        self,
        store: Store,
        search: SearchRecord,
        chosen: Sequence[tuple[CandidateRecord, EvaluationRecord]] | None = None,
    ) -> None:
        self._store, self._objective = store, search.spec.objective
        self._candidates: Sequence[AnyCandidate]
        if chosen is None:
            self._candidates = store.entrants(search.id)
            self.scored = scored_by_split(store, search.id)
        else:
            everyone = {candidate.id: candidate for candidate, _ in chosen}
            self._candidates = sorted(everyone.values(), key=lambda c: c.number)
            self.scored = _by_split(evaluation for _, evaluation in chosen)
        self.winner = find_winner(self._candidates, self.scored)
        baselines = [self._whole(candidate) for candidate in self.rivals(Split.SEARCH)]
        self._references = read_references(search, baselines, self.scored[Split.SEARCH])

    @property
    def recipe(self) -> Recipe | None:
        """The winner's."""
        return self._whole(self.winner).recipe if self.winner else None

    @property
    def table_split(self) -> Split:
        """The test split where winner and baselines are on it, else the search split."""
        tested = self.winner is not None and self.winner.id in self.scored[Split.TEST]
        return Split.TEST if tested and self.rivals(Split.TEST) else Split.SEARCH

    def rivals(self, split: Split) -> list[AnyCandidate]:
        """The baselines scored on a split."""
        return [c for c in self._candidates if is_baseline(c) and c.id in self.scored[split]]

    def compare(self, shown: Sequence[AnyCandidate], split: Split) -> Comparison:
        evaluations = [self.scored[split][candidate.id] for candidate in shown]
        outcomes = [self._store.outcomes(evaluation.id) for evaluation in evaluations]
        return Comparison(self._objective, self._references, evaluations, outcomes)

    def rows(
        self, shown: Sequence[AnyCandidate], comparison: Comparison, *, won: bool
    ) -> list[Row]:
        """A row a candidate; with `won`, the first one's lead over each of the others."""
        searched = self.scored[Split.SEARCH]
        return [_row(n, c, comparison, searched, won) for n, c in enumerate(shown)]

    def optimism(self) -> Optimism | None:
        """How far the winner's search score can be trusted."""
        if self.winner is None:
            return None
        tried = [self.scored[Split.SEARCH][c.id] for c in self._tried(Split.SEARCH)]
        own = {s: e[self.winner.id] for s, e in self.scored.items() if self.winner.id in e}
        return read_optimism(self._store, self._objective, self._references, tried, own)

    def front(self) -> Front | None:
        """The front, where there are several objectives: on test documents if it was tested."""
        if self._objective.number_of_objectives < 2 or self.winner is None:
            return None
        # What was tested was chosen before: all of it is shown, whatever the test documents say.
        several = len(self._tried(Split.TEST)) > 1 and self.rivals(Split.TEST)
        split = Split.TEST if several else Split.SEARCH
        tried, rivals = self._tried(split), self.rivals(split)
        if not tried or not rivals:
            return None
        beaten: list[dict[str, float]] = []
        if split is Split.SEARCH:
            evaluations = [self.scored[split][c.id] for c in tried]
            points = objectives_of(self._objective, self._references, evaluations)
            first = find_front(points, evaluations)
            beaten = [point for place, point in enumerate(points) if place not in set(first)]
            tried = [tried[place] for place in first]
        comparison = self.compare([*tried, *rivals], split)
        rows = self.rows([*tried, *rivals], comparison, won=False)
        members, others = rows[: len(tried)], rows[len(tried) :]
        return make_front(
            split, self._objective, self._references, comparison, members, others, beaten
        )

    def _whole(self, candidate: AnyCandidate) -> CandidateRecord:
        if isinstance(candidate, CandidateRecord):
            return candidate
        return self._store.candidate(candidate.id)

    def _tried(self, split: Split) -> list[AnyCandidate]:
        """The search's candidates scored on a split, each recipe once."""
        found = {
            candidate.recipe_id: candidate
            for candidate in reversed(self._candidates)
            if candidate.origin is Origin.SEARCH and candidate.id in self.scored[split]
        }
        return list(found.values())[::-1]


def find_winner(candidates: Sequence[_C], scored: Mapping[Split, Scored]) -> _C | None:
    """The search's candidate on the latest split that any was scored on; of several, the best one.

    Test documents choose nothing: of several candidates on them, the best one before is meant.
    """
    tried = [candidate for candidate in candidates if candidate.origin is Origin.SEARCH]
    for split in (Split.TEST, Split.VALIDATION, Split.SEARCH):
        found = [candidate for candidate in tried if candidate.id in scored[split]]
        if found:
            judge = _judge(found, scored) if split is Split.TEST else split
            return max(found, key=lambda c: rank_key(scored[judge][c.id]))
    return None


def _judge(found: Sequence[AnyCandidate], scored: Mapping[Split, Scored]) -> Split:
    """The split that chose among candidates before they were tested."""
    for split in (Split.VALIDATION, Split.SEARCH):
        if all(candidate.id in scored[split] for candidate in found):
            return split
    return Split.TEST


def scored_by_split(store: Store, search_id: str) -> dict[Split, Scored]:
    """The scored evaluations of a search."""
    return _by_split(store.evaluations(search_id))


def _by_split(evaluations: Iterable[EvaluationRecord]) -> dict[Split, Scored]:
    found: dict[Split, Scored] = {split: {} for split in Split}
    for evaluation in evaluations:
        if evaluation.status is EvaluationStatus.SCORED:
            found[evaluation.split][evaluation.candidate_id] = evaluation
    return found


def is_baseline(candidate: AnyCandidate) -> bool:
    """Greedy soup's trials are steps to a baseline, not baselines."""
    trial = (candidate.label or "").startswith(f"{GREEDY_SOUP}, trial")
    return candidate.origin is Origin.BASELINE and not trial


def read_references(
    search: SearchRecord, candidates: Sequence[CandidateRecord], scored: Scored
) -> References:
    """What the search's objective refers to; `scored`: on the search split, by candidate id."""
    tried = [
        (candidate, scored[candidate.id]) for candidate in candidates if candidate.id in scored
    ]
    return references_from(search.spec, tried)


def _row(
    place: int, candidate: AnyCandidate, comparison: Comparison, searched: Scored, won: bool
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
        objectives={one.name: one.value for one in comparison.objectives(place)},
    )


def label_of(candidate: AnyCandidate) -> str:
    """What people call a candidate: a baseline's name, or its number in the search."""
    if candidate.origin is Origin.BASELINE and candidate.label:
        return candidate.label
    extra = f" ({candidate.label})" if candidate.label else ""
    return f"candidate {candidate.number}{extra}"


def _notes(split: Split, winner: AnyCandidate | None, scored: Mapping[Split, Scored]) -> list[str]:
    if winner is None or split is Split.TEST:
        return []
    chosen = "validation" if winner.id in scored[Split.VALIDATION] else "search"
    return [
        f"There are no test scores: the winner was chosen on the {chosen} split and all rows show "
        "the search split, which the search climbed. Its scores are too good to be true."
    ]
