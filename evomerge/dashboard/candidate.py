"""One candidate: its scores with intervals, what it cost, what went wrong, and its recipe."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from evomerge.bootstrap import Estimate
from evomerge.comparison import Comparison
from evomerge.dashboard.overview import RecipeView, view_recipe
from evomerge.dashboard.signs import ATTEMPT_SIGNS, EVALUATION_SIGNS, Sign
from evomerge.dashboard.tables import Tables
from evomerge.errors import EvomergeError
from evomerge.fitness import References, Split
from evomerge.merging.mergekit_yaml import dump_recipe
from evomerge.results import label_of, read_references
from evomerge.store import SQLStore
from evomerge.store.types import (
    AttemptRecord,
    CandidateRecord,
    EvaluationRecord,
    EvaluationStatus,
    SearchRecord,
)

Pair = tuple[CandidateRecord, EvaluationRecord]


@dataclass(frozen=True)
class ScoreRow:
    """A task's score with its interval."""

    task: str
    metric: str
    estimate: Estimate
    documents: int


@dataclass(frozen=True)
class Attempted:
    """An attempt and what it looks like."""

    record: AttemptRecord
    sign: Sign

    @property
    def seconds(self) -> float | None:
        if self.record.finished_at is None:
            return None
        return (self.record.finished_at - self.record.started_at).total_seconds()


@dataclass(frozen=True)
class SplitView:
    """A candidate on one split. fitness and scores: empty where it has no result there.

    taken_from: whose result it took over; elsewhere: that of a search that is not to be named.
    """

    evaluation: EvaluationRecord
    sign: Sign
    fitness: Estimate | None
    scores: tuple[ScoreRow, ...]
    attempts: tuple[Attempted, ...]
    taken_from: CandidateRecord | None
    taken_from_elsewhere: bool

    @property
    def dropped(self) -> bool:
        return self.evaluation.status is EvaluationStatus.DROPPED


@dataclass(frozen=True)
class CandidateDetail:
    """The page. before, after: the numbers of its neighbours."""

    search: SearchRecord
    candidate: CandidateRecord
    label: str
    splits: tuple[SplitView, ...]
    recipe: RecipeView
    yaml: str
    before: int | None
    after: int | None
    best: CandidateRecord | None

    @property
    def path(self) -> str:
        return f"/searches/{self.search.id}/candidates/{self.candidate.number}"


def read_candidate(
    store: SQLStore,
    search: SearchRecord,
    number: int,
    tables: Tables,
    readable: Callable[[str], bool] = lambda search_id: True,
) -> CandidateDetail:
    """Everything about a candidate; NotFoundError where the search has none of that number.

    readable: whether the searches of an id may be named.
    """
    candidate = store.numbered(search.id, number)
    chosen = store.chosen(search.id, [candidate.id])
    own = [e for c, e in chosen if c.id == candidate.id]
    references = references_of(search, chosen)
    before, after = store.neighbours(search.id, number)
    return CandidateDetail(
        search,
        candidate,
        label_of(candidate),
        tuple(_split_view(store, search, e, references, tables, readable) for e in _in_order(own)),
        view_recipe(candidate.recipe),
        dump_recipe(candidate.recipe),
        before,
        after,
        store.progress(search.id).best,
    )


def references_of(search: SearchRecord, chosen: Sequence[Pair]) -> References:
    """The scores that an objective may refer to, of the baselines among `chosen`."""
    searched = {
        c.id: e for c, e in chosen if e.split is Split.SEARCH and e.status is _SCORED and e.scores
    }
    return read_references(search, list({c.id: c for c, _ in chosen}.values()), searched)


_SCORED = EvaluationStatus.SCORED


def _in_order(evaluations: Sequence[EvaluationRecord]) -> list[EvaluationRecord]:
    """The split that says most first."""
    order = [Split.TEST, Split.VALIDATION, Split.SEARCH]
    return sorted(evaluations, key=lambda e: order.index(e.split))


def _split_view(
    store: SQLStore,
    search: SearchRecord,
    evaluation: EvaluationRecord,
    references: References,
    tables: Tables,
    readable: Callable[[str], bool],
) -> SplitView:
    fitness, scores = tables.keep(
        ("scores", evaluation.id, evaluation.fitness),
        lambda: _scores(store, search, evaluation, references),
    )
    attempts = store.attempts(evaluation.copied_from or evaluation.id)
    source = _taken_from(store, evaluation)
    return SplitView(
        evaluation,
        EVALUATION_SIGNS[evaluation.status],
        fitness,
        scores,
        tuple(Attempted(one, ATTEMPT_SIGNS[one.status]) for one in attempts),
        source if source and readable(source.search_id) else None,
        taken_from_elsewhere=bool(source and not readable(source.search_id)),
    )


def _taken_from(store: SQLStore, evaluation: EvaluationRecord) -> CandidateRecord | None:
    if evaluation.copied_from is None:
        return None
    return store.candidate(store.evaluation(evaluation.copied_from).candidate_id)


def _scores(
    store: SQLStore, search: SearchRecord, evaluation: EvaluationRecord, references: References
) -> tuple[Estimate | None, tuple[ScoreRow, ...]]:
    if not evaluation.scores:
        return None, ()
    outcomes = store.outcomes(evaluation.id)
    try:
        found = Comparison(search.spec.objective, references, [evaluation], [outcomes])
        estimates, fitness = found.scores(0), found.fitness(0)
    except (EvomergeError, KeyError):  # another objective's scores, from an older version
        return None, ()
    rows = tuple(
        ScoreRow(task, found.metrics[task], estimate, found.documents[task])
        for task, estimate in estimates.items()
    )
    return fitness, rows
