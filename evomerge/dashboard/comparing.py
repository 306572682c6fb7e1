"""Two candidates side by side: the knobs in which they differ, and what that did to each task."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from evomerge.bootstrap import Estimate
from evomerge.comparison import Comparison
from evomerge.dashboard.candidate import Pair, references_of
from evomerge.dashboard.drawing import Drawing, draw
from evomerge.dashboard.overview import RecipeView, view_recipe
from evomerge.dashboard.tables import Tables
from evomerge.errors import EvomergeError, UsageError
from evomerge.fitness import Split
from evomerge.hub import short_name
from evomerge.merging.describe import Difference, differences
from evomerge.recipe import Recipe
from evomerge.report.charts import difference_chart
from evomerge.results import label_of
from evomerge.store import SQLStore
from evomerge.store.types import (
    CandidateRecord,
    EvaluationRecord,
    EvaluationStatus,
    SearchRecord,
)


@dataclass(frozen=True)
class Side:
    """One of the two."""

    search: SearchRecord
    candidate: CandidateRecord
    recipe: RecipeView

    @property
    def label(self) -> str:
        return label_of(self.candidate)

    @property
    def path(self) -> str:
        return f"/searches/{self.search.id}/candidates/{self.candidate.number}"


@dataclass(frozen=True)
class TaskDifference:
    """A task's scores, and the first minus the second; paired: on the same documents."""

    task: str
    first: Estimate
    second: Estimate
    lead: Estimate
    paired: bool

    @property
    def verdict(self) -> str:
        """Who is ahead, as far as the interval tells."""
        if self.lead.low is not None and self.lead.low > 0:
            return "first"
        if self.lead.high is not None and self.lead.high < 0:
            return "second"
        return "even"


@dataclass(frozen=True)
class Pairing:
    """The page. split: where both were scored; None where nowhere, and `why` says so."""

    first: Side
    second: Side
    knobs: tuple[Difference, ...]
    split: Split | None
    tasks: tuple[TaskDifference, ...]
    fitness: TaskDifference | None
    chart: Drawing
    why: str | None = None


def parse_pick(text: str) -> tuple[str, int]:
    """`SEARCH:NUMBER`; UsageError for anything else."""
    search, colon, number = text.strip().rpartition(":")
    if not colon or not search or not number.isdecimal() or len(number) > 9:
        raise UsageError(
            f"{text!r} names no candidate", where="compare", remedy="write SEARCH:NUMBER"
        )
    return search, int(number)


def read_pairing(
    store: SQLStore,
    first: tuple[SearchRecord, int],
    second: tuple[SearchRecord, int],
    tables: Tables,
) -> Pairing:
    """Compare two candidates, of one search or of two."""
    one, other = _side(store, *first), _side(store, *second)
    found = _compare(store, one, other, tables)
    shown = [*([("fitness", found.fitness.lead)] if found.fitness else [])]
    shown += [(row.task, row.lead) for row in found.tasks]
    return Pairing(
        one,
        other,
        _knobs(one.candidate.recipe, other.candidate.recipe),
        found.split,
        found.tasks,
        found.fitness,
        draw(partial(difference_chart, "Difference", shown)),
        found.why,
    )


def _knobs(one: Recipe, other: Recipe) -> tuple[Difference, ...]:
    """What differs, with models by the last part of their names where that tells them apart."""
    models = {*one.all_models(), *other.all_models()}
    short = {model: short_name(model) for model in sorted(models, key=len, reverse=True)}
    if len(set(short.values())) < len(short):
        return differences(one, other)

    def shortened(text: str | None) -> str | None:
        for model, name in short.items():
            text = text and text.replace(model, name)
        return text

    return tuple(
        Difference(shortened(d.what) or "", shortened(d.first), shortened(d.second))
        for d in differences(one, other)
    )


def _side(store: SQLStore, search: SearchRecord, number: int) -> Side:
    candidate = store.numbered(search.id, number)
    return Side(search, candidate, view_recipe(candidate.recipe))


@dataclass(frozen=True)
class _Found:
    split: Split | None
    tasks: tuple[TaskDifference, ...] = ()
    fitness: TaskDifference | None = None
    why: str | None = None


def _compare(store: SQLStore, one: Side, other: Side, tables: Tables) -> _Found:
    if one.search.scope != other.search.scope:
        return _Found(None, why="Their searches differ in models, tasks, splits or engine.")
    chosen = store.chosen(one.search.id, [one.candidate.id])
    if other.search.id != one.search.id:
        chosen += store.chosen(other.search.id, [other.candidate.id])
    else:
        chosen += store.chosen(one.search.id, [other.candidate.id])
    for split in (Split.TEST, Split.VALIDATION, Split.SEARCH):
        pair = [_scored(chosen, side.candidate, split) for side in (one, other)]
        if pair[0] is not None and pair[1] is not None:
            both = [pair[0], pair[1]]
            make = partial(_differences, store, one.search, chosen, both, split)
            found: _Found = tables.keep(("pair", split, *(e.id for e in both)), make)
            return found
    return _Found(None, why="They were not scored on all documents of one split.")


def _scored(
    chosen: Sequence[Pair], candidate: CandidateRecord, split: Split
) -> EvaluationRecord | None:
    for owner, evaluation in chosen:
        same = owner.id == candidate.id and evaluation.split is split
        if same and evaluation.status is EvaluationStatus.SCORED:
            return evaluation
    return None


def _differences(
    store: SQLStore,
    search: SearchRecord,
    chosen: Sequence[Pair],
    evaluations: Sequence[EvaluationRecord],
    split: Split,
) -> _Found:
    outcomes = [store.outcomes(evaluation.id) for evaluation in evaluations]
    references = references_of(search, [p for p in chosen if p[0].search_id == search.id])
    try:
        found = Comparison(search.spec.objective, references, evaluations, outcomes)
        first, second, leads = found.scores(0), found.scores(1), found.score_leads(0, 1)
        lead, paired = found.lead(0, 1)
        fitness = TaskDifference("fitness", found.fitness(0), found.fitness(1), lead, paired)
    except (EvomergeError, KeyError):
        return _Found(None, why="Their scores cannot be compared.")
    rows = tuple(TaskDifference(task, first[task], second[task], *leads[task]) for task in first)
    return _Found(split, rows, fitness)
