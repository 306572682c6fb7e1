"""Lists cut into pages by the database: searches, and the candidates of one, filtered and sorted.

A page costs the same in a search of two hundred candidates and of two hundred thousand: its rows are
found along indexes first, and only these are read whole. Evaluations of the search split are made
together with their candidates, so their ids are in the candidates' order.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, literal, or_, select, union

from evomerge.errors import NotFoundError
from evomerge.fitness import Split
from evomerge.store.candidates import CANDIDATE_COLUMNS, candidate_record
from evomerge.store.evaluations import evaluation_query, evaluation_record
from evomerge.store.pages import (
    CandidatePage,
    CandidateView,
    SearchPage,
    SearchRow,
    SearchView,
    Show,
)
from evomerge.store.rows import scores_where
from evomerge.store.schema import Ask, Candidate, Evaluation, Queued, Race, Score, Search
from evomerge.store.searches import SEARCH_COLUMNS, search_of
from evomerge.store.text import clean
from evomerge.store.transactions import Transactions, reads
from evomerge.store.types import CandidateRecord, EvaluationRecord, Origin

_LONGEST_NUMBER = 9
_HEXADECIMAL = re.compile(r"[0-9a-f]+")
Condition = ColumnElement[bool]
Pair = tuple[CandidateRecord, EvaluationRecord]


class Listings(Transactions):
    """What lists show."""

    @reads
    def search_page(
        self, db: Connection, view: SearchView, *, limit: int, offset: int = 0
    ) -> SearchPage:
        """Searches newest first, with their place in the queue."""
        conditions = _search_conditions(view)
        joined = select(*SEARCH_COLUMNS, Queued.owner, Queued.priority).outerjoin(
            Queued, Queued.search_id == Search.id
        )
        found = joined.where(*conditions).order_by(Search.created_at.desc(), Search.id)
        rows = db.execute(found.limit(limit).offset(offset)).all()
        total = select(func.count()).select_from(Search)
        total = total.outerjoin(Queued, Queued.search_id == Search.id).where(*conditions)
        return SearchPage(
            tuple(SearchRow(search_of(row), row.owner, row.priority) for row in rows),
            int(db.scalar(total) or 0),
        )

    @reads
    def search_owners(self, db: Connection) -> list[str]:
        """Who has searches on a server, by name."""
        return list(db.scalars(select(Queued.owner).distinct().order_by(Queued.owner)))

    @reads
    def candidate_page(
        self, db: Connection, search_id: str, view: CandidateView, *, limit: int, offset: int = 0
    ) -> CandidatePage:
        """Candidates of a search with their evaluations on the search split."""
        ids, total = _cut(db, _segments(db, search_id, view), limit, offset)
        return CandidatePage(tuple(read_pairs(db, ids)), total)

    @reads
    def numbered(self, db: Connection, search_id: str, number: int) -> CandidateRecord:
        """A candidate by its number in the search, else NotFoundError."""
        query = select(*CANDIDATE_COLUMNS).outerjoin(Ask, Ask.candidate_id == Candidate.id)
        place = (Candidate.search_id == search_id, Candidate.number == number)
        row = db.execute(query.where(*place)).one_or_none()
        if row is None:
            raise NotFoundError(
                f"search {search_id} has no candidate {number}",
                remedy=f"list the best: evomerge best --search {search_id}",
            )
        return candidate_record(row)

    @reads
    def neighbours(
        self, db: Connection, search_id: str, number: int
    ) -> tuple[int | None, int | None]:
        """The numbers of the candidates asked for before and after this one."""
        inside = Candidate.search_id == search_id
        before = select(func.max(Candidate.number)).where(inside, Candidate.number < number)
        after = select(func.min(Candidate.number)).where(inside, Candidate.number > number)
        return db.scalar(before), db.scalar(after)


def read_pairs(db: Connection, evaluation_ids: Sequence[int]) -> list[Pair]:
    """Candidates with these evaluations of theirs, in this order."""
    chosen = Evaluation.id.in_(evaluation_ids)
    rows = {row.id: row for row in db.execute(evaluation_query(chosen))}
    scores = scores_where(db, Score.evaluation_id.in_([row.root for row in rows.values()]))
    wanted = [row.candidate_id for row in rows.values()]
    query = select(*CANDIDATE_COLUMNS).outerjoin(Ask, Ask.candidate_id == Candidate.id)
    candidates = {
        row.id: candidate_record(row) for row in db.execute(query.where(Candidate.id.in_(wanted)))
    }
    found = [rows[key] for key in evaluation_ids]
    return [
        (candidates[row.candidate_id], evaluation_record(row, scores[row.root])) for row in found
    ]


def first_searched(db: Connection, search_id: str) -> int | None:
    """The number of the first candidate that is no baseline; None before there is one."""
    query = select(Candidate.number).where(
        Candidate.search_id == search_id, Candidate.origin == Origin.SEARCH.value
    )
    return db.scalar(query.order_by(Candidate.number).limit(1))


def _search_conditions(view: SearchView) -> list[Condition]:
    conditions: list[Condition] = []
    if view.status is not None:
        conditions.append(Search.status == view.status.value)
    if view.owner is not None:
        conditions.append(Queued.owner == clean(view.owner))
    if wanted := clean(view.text):
        named = Search.name.icontains(wanted, autoescape=True)
        conditions.append(or_(named, Search.id.startswith(wanted, autoescape=True)))
    return conditions


@dataclass(frozen=True)
class _Segment:
    """A part of a list: which evaluations, and in which order. Lists are segments end to end.

    order: columns, and whether each one falls. task: joined with its scores where they are given an
    order; each scored evaluation has one. raced: joined with what races say.
    """

    conditions: Sequence[Condition]
    order: Sequence[tuple[Any, bool]]
    task: str | None = None
    raced: bool = False

    def page(self, db: Connection, count: int, start: int, length: int) -> list[int]:
        """The evaluations from `start` on; those of the far half are reached from the end."""
        length = min(length, count - start)
        if 2 * start < count:
            return list(db.scalars(self._ids().limit(length).offset(start)))
        behind = count - start - length
        found = db.scalars(self._ids(backwards=True).limit(length).offset(behind))
        return list(found)[::-1]

    def _ids(self, *, backwards: bool = False) -> Select[*tuple[Any, ...]]:
        query = self._joined(select(Evaluation.id))
        if self.task is not None:
            root = func.coalesce(Evaluation.copied_from, Evaluation.id)
            of_task = and_(Score.evaluation_id == root, Score.task == self.task)
            query = query.join(Score, and_(of_task, Score.headline.is_(True)))
        falling = [(column, falls != backwards) for column, falls in self.order]
        return query.order_by(*(column.desc() if falls else column for column, falls in falling))

    def count(self) -> Select[*tuple[Any, ...]]:
        return self._joined(select(func.count()).select_from(Evaluation))

    def _joined(self, query: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
        if self.raced:
            query = query.join(Race, Race.evaluation_id == Evaluation.id)
        return query.where(*self.conditions)


def _cut(
    db: Connection, segments: Sequence[_Segment], limit: int, offset: int
) -> tuple[list[int], int]:
    """The evaluations of one page, and how many there are in all."""
    found: list[int] = []
    total = 0
    for segment in segments:
        count = int(db.scalar(segment.count()) or 0)
        start = max(0, offset - total)
        if start < count and len(found) < limit:
            found += segment.page(db, count, start, limit - len(found))
        total += count
    return found, total


_FIRST = (Evaluation.id, False)
_WITHOUT_FITNESS = (Show.FAILED, Show.RUNNING, Show.PENDING)


def _segments(db: Connection, search_id: str, view: CandidateView) -> list[_Segment]:
    raced = view.show is Show.DROPPED
    inside = Race.search_id if raced else Evaluation.search_id
    base = [inside == search_id, Evaluation.split == Split.SEARCH.value]
    base += _shown(db, search_id, view)
    if view.sort == "number" or (view.sort == "fitness" and view.show in _WITHOUT_FITNESS):
        return [_Segment(base, [(Evaluation.id, view.descending)], raced=raced)]
    if view.sort != "fitness":
        return [_by_task(base, view, raced)]
    if raced:
        return [_Segment(base, [(Race.fitness, view.descending), _FIRST], raced=True)]
    return _by_fitness(base, view)


def _by_task(base: list[Condition], view: CandidateView, raced: bool) -> _Segment:
    # What a few documents say is not comparable. The sum keeps SQLite from walking by fitness.
    whole = Evaluation.violation + literal(0.0) >= 0
    order = [(Score.value, view.descending), _FIRST]
    return _Segment([*base, whole], order, task=clean(view.sort.removeprefix("task:")), raced=raced)


def _by_fitness(base: list[Condition], view: CandidateView) -> list[_Segment]:
    """Those that keep all constraints, then those that miss one, then those without a fitness."""
    order = (Evaluation.fitness, view.descending)
    missed = [(Evaluation.violation, False), order, _FIRST]
    segments = [
        _Segment([*base, Evaluation.violation == 0], [order, _FIRST]),
        _Segment([*base, Evaluation.violation > 0], missed),
    ]
    if view.show is not Show.SCORED:
        segments.append(_Segment([*base, Evaluation.violation.is_(None)], [_FIRST]))
    return segments


def _shown(db: Connection, search_id: str, view: CandidateView) -> list[Condition]:
    conditions: list[Condition] = []
    if view.show is Show.SCORED:
        conditions.append(Evaluation.violation.is_not(None))
    elif view.show is Show.DROPPED:
        conditions.append(Race.dropped.is_(True))
    elif view.show is Show.TAKEN_OVER:
        conditions.append(Evaluation.status.is_(None))
    elif view.show is Show.BASELINES:
        conditions.append(Evaluation.candidate_id.in_(_baselines(db, search_id)))
    elif view.show is not Show.ALL:
        conditions.append(Evaluation.status == view.show.value)
    if wanted := clean(view.text):
        conditions.append(Evaluation.candidate_id.in_(_named(db, search_id, wanted)))
    return conditions


def _baselines(db: Connection, search_id: str) -> Select[*tuple[Any, ...]]:
    # Along the numbers: the table itself holds recipes, and reading all of them takes seconds.
    first = first_searched(db, search_id)
    query = select(Candidate.id).where(Candidate.search_id == search_id)
    return query if first is None else query.where(Candidate.number < first)


def _named(db: Connection, search_id: str, wanted: str) -> Any:
    """By number, by the beginning of a recipe's id, or a baseline by a part of its name."""
    inside = Candidate.search_id == search_id
    if wanted.isdecimal() and len(wanted) < _LONGEST_NUMBER:
        return select(Candidate.id).where(inside, Candidate.number == int(wanted))
    by_label = select(Candidate.id).where(
        Candidate.id.in_(_baselines(db, search_id)),
        Candidate.label.icontains(wanted, autoescape=True),
    )
    if not _HEXADECIMAL.fullmatch(wanted):
        return by_label
    # A range, and not a pattern, has the index in both databases, whatever their collation.
    behind = wanted[:-1] + chr(ord(wanted[-1]) + 1) if wanted[-1] != "9" else wanted[:-1] + "a"
    by_recipe = select(Candidate.id).where(
        inside, Candidate.recipe_id >= wanted, Candidate.recipe_id < behind
    )
    return union(by_recipe, by_label)
