"""The candidates of a search as a table: filtered, sorted and cut into pages by the database."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from evomerge.dashboard.paging import Pager, with_query
from evomerge.dashboard.signs import EVALUATION_SIGNS, Sign
from evomerge.results import label_of
from evomerge.store import SQLStore
from evomerge.store.pages import CandidateView, Show
from evomerge.store.types import CandidateRecord, EvaluationRecord, SearchRecord

PAGE = 50


@dataclass(frozen=True)
class Column:
    """A column that can be sorted. aria: how it is sorted now, as `aria-sort` has it."""

    key: str
    title: str
    href: str
    aria: str | None


@dataclass(frozen=True)
class CandidateLine:
    """One row. scores: of each task's headline metric. documents: answered, of all tasks."""

    candidate: CandidateRecord
    evaluation: EvaluationRecord
    label: str
    sign: Sign
    scores: Mapping[str, float]
    documents: int

    @property
    def seconds(self) -> float | None:
        """Worker time; None where it is not known, or was spent by another candidate."""
        costs = self.evaluation.costs
        return costs.total_seconds if costs and self.evaluation.copied_from is None else None


@dataclass(frozen=True)
class CandidateList:
    """The page."""

    search: SearchRecord
    view: CandidateView
    lines: tuple[CandidateLine, ...]
    pager: Pager
    tasks: tuple[str, ...]

    @property
    def path(self) -> str:
        return f"/searches/{self.search.id}/candidates"

    def href(self, page: int) -> str:
        """The address of another page of the same list."""
        return with_query(self.path, {**_chosen(self.view), "page": page if page > 1 else None})

    def column(self, key: str, title: str) -> Column:
        """A column's head: a click sorts by it, a second one turns the order."""
        same = self.view.sort == key
        down = not self.view.descending if same else key != "number"
        other = replace(self.view, sort=key, descending=down)
        now = "descending" if self.view.descending else "ascending"
        return Column(key, title, with_query(self.path, _chosen(other)), now if same else None)


def _chosen(view: CandidateView) -> dict[str, object]:
    default = CandidateView()
    return {
        "sort": view.sort if view.sort != default.sort else None,
        "order": None if view.descending else "up",
        "show": view.show.value if view.show is not Show.ALL else None,
        "q": view.text,
    }


def read_candidates(
    store: SQLStore, search: SearchRecord, view: CandidateView, page: int
) -> CandidateList:
    """A page of the table. A sort by something that the search has not is one by fitness."""
    tasks = tuple(task.task for task in search.spec.objective.tasks)
    known = {"number", "fitness", *(f"task:{task}" for task in tasks)}
    asked = view if view.sort in known else replace(view, sort="fitness")
    found = store.candidate_page(search.id, asked, limit=PAGE, offset=PAGE * (page - 1))
    lines = tuple(line_of(candidate, evaluation) for candidate, evaluation in found.rows)
    return CandidateList(search, asked, lines, Pager(page, PAGE, found.total), tasks)


def line_of(candidate: CandidateRecord, evaluation: EvaluationRecord) -> CandidateLine:
    """A candidate with one evaluation, as a row."""
    return CandidateLine(
        candidate,
        evaluation,
        label_of(candidate),
        EVALUATION_SIGNS[evaluation.status],
        {task: score.value for task, score in evaluation.headlines.items()},
        evaluation.documents,
    )
