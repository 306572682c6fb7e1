"""The course of a search in as few rows as a chart has room for, however long the search is.

The best so far is found stretch by stretch: the maxima of some hundred ranges of candidate ids, each
along one index. Ids rise with numbers, as candidates are written in the order they were asked for.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Double, Row, column, func, literal, select, values
from sqlalchemy.orm import aliased

from evomerge.fitness import Split
from evomerge.store.evaluations import Root, evaluation_query, evaluation_record
from evomerge.store.listing import first_searched, read_pairs
from evomerge.store.pages import Course, Dot
from evomerge.store.rows import scores_where
from evomerge.store.schema import Candidate, Evaluation, Key, Race, Score
from evomerge.store.transactions import Transactions, reads
from evomerge.store.types import CandidateRecord, EvaluationRecord

STRETCHES, DOTS = 180, 300
_LAST = 2**62


class Courses(Transactions):
    """What charts show."""

    @reads
    def course(
        self, db: Connection, search_id: str, *, stretches: int = STRETCHES, dots: int = DOTS
    ) -> Course:
        """Dots and records of the search's own candidates on the search split."""
        first = first_searched(db, search_id)
        if first is None:
            return Course(0, 0)
        last = select(func.max(Candidate.number)).where(Candidate.search_id == search_id)
        count = int(db.scalar(last) or 0) + 1 - first
        starts = _ids_at(db, search_id, first, count, stretches)
        records = _records(db, search_id, starts)
        shown = _ids_at(db, search_id, first, count, dots) if dots else []
        found = _dots(db, search_id, [*shown, *records])
        return Course(
            count,
            first,
            tuple(sorted(found.values(), key=lambda dot: dot.number)),
            tuple(found[key] for key in records if key in found),
        )

    @reads
    def leading(
        self, db: Connection, search_id: str, limit: int
    ) -> list[tuple[int, EvaluationRecord]]:
        """The evaluations of the best fitness on the search split, best first, with the numbers of
        their candidates."""
        ranked = (
            select(Evaluation.id)
            .where(
                Evaluation.search_id == search_id,
                Evaluation.split == Split.SEARCH.value,
                Evaluation.fitness.is_not(None),
            )
            .order_by(Evaluation.violation, Evaluation.fitness.desc(), Evaluation.id)
            .limit(limit)
        )
        place = {key: number for number, key in enumerate(db.scalars(ranked))}
        query = evaluation_query(Evaluation.id.in_(place)).add_columns(Candidate.number)
        rows = sorted(db.execute(query), key=lambda row: place[row.id])
        scores = scores_where(db, Score.evaluation_id.in_([row.root for row in rows]))
        return [(row.number, evaluation_record(row, scores[row.root])) for row in rows]

    @reads
    def chosen(
        self, db: Connection, search_id: str, also: Sequence[int] = ()
    ) -> list[tuple[CandidateRecord, EvaluationRecord]]:
        """Baselines and finalists, and the candidates of these ids, with all their evaluations."""
        inside = Evaluation.search_id == search_id
        finalists = select(Evaluation.candidate_id).where(
            inside, Evaluation.split.in_([Split.VALIDATION.value, Split.TEST.value])
        )
        baselines = select(Candidate.id).where(Candidate.search_id == search_id)
        first = first_searched(db, search_id)
        if first is not None:
            baselines = baselines.where(Candidate.number < first)
        wanted = {*db.scalars(finalists), *db.scalars(baselines), *also}
        ids = select(Evaluation.id).where(inside, Evaluation.candidate_id.in_(wanted))
        return read_pairs(db, list(db.scalars(ids.order_by(Evaluation.id))))


def _ids_at(db: Connection, search_id: str, first: int, count: int, most: int) -> list[int]:
    """The candidates at which even stretches of the search begin: `most` to twice as many of them."""
    step = max(1, count // most)
    numbers = range(first, first + count, step)
    query = select(Candidate.id).where(
        Candidate.search_id == search_id, Candidate.number.in_(numbers)
    )
    return list(db.scalars(query.order_by(Candidate.number)))


def _records(db: Connection, search_id: str, starts: Sequence[int]) -> list[int]:
    """The candidates that were the best so far, as far as the stretches can tell."""
    ends = [*starts[1:], _LAST]
    risen, best = [], float("-inf")
    for row in db.execute(_maxima(search_id, list(zip(starts, ends, strict=True)))):
        if row.best is not None and row.best > best:
            best = row.best
            risen.append((row.low, row.high, best))
    holders = db.execute(_holders(search_id, risen)) if risen else ()
    return [int(row.holder) for row in holders]


def _maxima(search_id: str, stretches: Sequence[tuple[int, int]]) -> Any:
    """The best fitness of each stretch among those that keep all constraints."""
    stretch = _table("stretch", ("low", "high"), stretches)
    best = select(func.max(_OWN.fitness)).where(*_kept(search_id, stretch.c))
    inner = best.correlate(stretch).scalar_subquery().label("best")
    return select(stretch.c.low, stretch.c.high, inner).order_by(stretch.c.low)


def _holders(search_id: str, risen: Sequence[tuple[int, int, float]]) -> Any:
    """The first candidate of each stretch with its best fitness."""
    stretch = _table("stretch", ("low", "high"), risen)
    first = select(func.min(_OWN.candidate_id)).where(
        *_kept(search_id, stretch.c), _OWN.fitness == stretch.c.best
    )
    inner = first.correlate(stretch).scalar_subquery().label("holder")
    return select(stretch.c.low, inner).order_by(stretch.c.low)


_OWN = aliased(Evaluation)


def _table(name: str, keys: Sequence[str], rows: Sequence[tuple[float, ...]]) -> Any:
    columns = [*(column(key, Key) for key in keys), column("best", Double())]
    return values(*columns[: len(rows[0])], name=name).data(list(rows)).cte(name)


def _kept(search_id: str, stretch: Any) -> tuple[Any, ...]:
    inside = (_OWN.search_id == search_id, _OWN.split == Split.SEARCH.value)
    place = (_OWN.candidate_id >= stretch.low, _OWN.candidate_id < stretch.high)
    # The sum keeps SQLite from walking all that keep constraints once for every stretch.
    return (*inside, *place, _OWN.violation + literal(0.0) == 0)


def _dots(db: Connection, search_id: str, candidate_ids: Sequence[int]) -> dict[int, Dot]:
    """Those of the candidates that have a fitness or an estimate, by id."""
    query = (
        select(
            *(Candidate.id, Candidate.number, Candidate.label),
            func.coalesce(Evaluation.fitness, Race.fitness).label("fitness"),
            func.coalesce(Evaluation.violation, Race.violation).label("violation"),
            Race.dropped,
        )
        .join(Evaluation, Evaluation.candidate_id == Candidate.id)
        .join(Root, Root.id == func.coalesce(Evaluation.copied_from, Evaluation.id))
        .outerjoin(Race, Race.evaluation_id == Root.id)
        .where(Candidate.id.in_(candidate_ids), Evaluation.split == Split.SEARCH.value)
    )
    return {row.id: _dot(row) for row in db.execute(query) if row.fitness is not None}


def _dot(row: Row[*tuple[Any, ...]]) -> Dot:
    return Dot(row.number, row.label, row.fitness, not row.violation, bool(row.dropped))
