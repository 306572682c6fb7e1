"""The course of a search in as few rows as a chart has room for, however long the search is.

The best so far is found stretch by stretch: the maxima of some hundred ranges of candidate ids, each
along one index. Ids rise with numbers, as candidates are written in the order they were asked for.
"""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Integer, Row, bindparam, func, select, text

from evomerge.fitness import Split
from evomerge.store.evaluations import Root, evaluation_query, evaluation_record
from evomerge.store.listing import first_searched, read_pairs
from evomerge.store.pages import Course, Dot
from evomerge.store.rows import scores_where
from evomerge.store.schema import Candidate, Evaluation, Race, Score
from evomerge.store.transactions import Transactions, reads
from evomerge.store.types import CandidateRecord, EvaluationRecord

STRETCHES, DOTS = 180, 300


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
        records = _records(db, search_id, first, count, stretches)
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
    numbers = range(first, first + count, _step(count, most))
    query = select(Candidate.id).where(
        Candidate.search_id == search_id, Candidate.number.in_(numbers)
    )
    return list(db.scalars(query.order_by(Candidate.number)))


def _step(count: int, most: int) -> int:
    """How many candidates a stretch has."""
    return max(1, count // most)


_MAXIMA = text(
    """
WITH RECURSIVE starts(number) AS (
    SELECT :first
    UNION ALL
    SELECT number + :step FROM starts WHERE number + :step <= :last
),
stretches(low, high) AS MATERIALIZED (
    SELECT
        (SELECT id FROM candidates c WHERE c.search_id = :search AND c.number = starts.number),
        (SELECT id FROM candidates c
         WHERE c.search_id = :search AND c.number = starts.number + :step)
    FROM starts
)
SELECT (
    SELECT MAX(e.fitness)
    FROM evaluations e
    WHERE e.search_id = :search
      AND e.split = 'search'
      AND e.candidate_id >= stretches.low
      AND e.candidate_id < COALESCE(stretches.high, 4611686018427387904)
      -- The sum keeps SQLite from walking all that keep constraints once for every stretch.
      AND e.violation + 0.0 = 0.0
)
FROM stretches
ORDER BY low
"""
).bindparams(bindparam("first", type_=Integer), bindparam("step", type_=Integer))
"""Text, as a statement that is put together for every question takes longer than to answer it."""


def _records(db: Connection, search_id: str, first: int, count: int, most: int) -> list[int]:
    """The candidates that were the best so far, as far as the stretches can tell."""
    last = first + count - 1
    values = {"search": search_id, "first": first, "last": last, "step": _step(count, most)}
    risen: list[float] = []
    for best in db.scalars(_MAXIMA, values):
        if best is not None and (not risen or best > risen[-1]):
            risen.append(float(best))
    # A fitness that beat all before it is met there first.
    holders = (
        select(func.min(Evaluation.candidate_id))
        .where(
            Evaluation.search_id == search_id,
            Evaluation.split == Split.SEARCH.value,
            Evaluation.violation == 0,
            Evaluation.fitness.in_(risen),
        )
        .group_by(Evaluation.fitness)
        .order_by(Evaluation.fitness)
    )
    return [int(key) for key in db.scalars(holders) if key is not None]


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
