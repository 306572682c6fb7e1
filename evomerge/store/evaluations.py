"""Evaluations: one candidate on one split, with its scores. Reads follow `copied_from`."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, bindparam, func, select, update
from sqlalchemy.orm import aliased

from evomerge.errors import NotFoundError, StoreError
from evomerge.fitness import Fitness, Split, TaskOutcomes, TaskScore
from evomerge.store.candidates import add_evaluation, between, find_candidate
from evomerge.store.codec import unpack
from evomerge.store.rows import costs_of, scores_where
from evomerge.store.schema import Attempt, Candidate, Evaluation, Outcome, Race, Score
from evomerge.store.searches import check_lease
from evomerge.store.transactions import Transactions, reads, writes
from evomerge.store.types import EvaluationRecord, EvaluationStatus, Origin, Standing

Root = aliased(Evaluation)
"""The evaluation whose result counts: itself, or the one that it follows."""


class Evaluations(Transactions):
    """The evaluations of a search's candidates."""

    @writes
    def request_evaluations(
        self,
        db: Connection,
        search_id: str,
        owner: str,
        candidate_ids: Sequence[int],
        split: Split,
        rival: int | None = None,
    ) -> list[EvaluationRecord]:
        """Evaluations on another split, in this order; existing ones as they are."""
        check_lease(db, search_id, owner)
        existing = _ids_by_candidate(db, search_id, split, candidate_ids)
        for candidate_id in dict.fromkeys(candidate_ids):
            if candidate_id not in existing:
                candidate = find_candidate(db, candidate_id)
                _check_belongs(candidate.search_id, search_id, candidate_id)
                existing[candidate_id] = add_evaluation(db, candidate, split, rival=rival)
        return [find_evaluation(db, existing[candidate_id]) for candidate_id in candidate_ids]

    @reads
    def evaluations(
        self,
        db: Connection,
        search_id: str,
        split: Split | None = None,
        numbers: range | None = None,
    ) -> list[EvaluationRecord]:
        """With their scores; by candidate number, then in the order they were asked for."""
        # A part is found by candidates: evaluations have no index by number.
        mine = Evaluation.search_id if numbers is None else Candidate.search_id
        conditions = [mine == search_id, *between(Candidate.number, numbers)]
        if split is not None:
            conditions.append(Evaluation.split == Split(split).value)
        return _read(db, conditions, Candidate.number, Evaluation.id)

    @reads
    def told(self, db: Connection, search_id: str, places: range) -> list[EvaluationRecord]:
        """In told order."""
        searched = (Candidate.search_id == search_id, Evaluation.split == Split.SEARCH.value)
        return _read(db, [*searched, *between(Candidate.told, places)], Candidate.told)

    @reads
    def standings(self, db: Connection, search_id: str, split: Split) -> list[Standing]:
        """Of all candidates but the baselines, by number."""
        mine = (Evaluation.search_id == search_id, Evaluation.split == Split(split).value)
        query = (
            select(*(Candidate.id, Candidate.number, Candidate.label, Candidate.recipe_id))
            .add_columns(Root.status, Race.dropped, *_fitness_columns())
            .join(Evaluation, Evaluation.candidate_id == Candidate.id)
            .join(Root, Root.id == func.coalesce(Evaluation.copied_from, Evaluation.id))
            .outerjoin(Race, Race.evaluation_id == Root.id)
            .where(*mine, Candidate.origin == Origin.SEARCH.value)
            .order_by(Candidate.number)
        )
        return [
            Standing(
                row.id,
                row.number,
                row.label,
                row.recipe_id,
                _status(row),
                row.fitness,
                row.violation,
            )
            for row in db.execute(query)
        ]

    @reads
    def evaluations_of(self, db: Connection, candidate_id: int) -> list[EvaluationRecord]:
        """Those of one candidate, in the order they were asked for."""
        rows = db.execute(
            evaluation_query(Evaluation.candidate_id == candidate_id).order_by(Evaluation.id)
        ).all()
        scores = scores_where(db, Score.evaluation_id.in_([row.root for row in rows]))
        return [evaluation_record(row, scores[row.root]) for row in rows]

    @reads
    def evaluation(self, db: Connection, evaluation_id: int) -> EvaluationRecord:
        """By id, else NotFoundError."""
        return find_evaluation(db, evaluation_id)

    @writes
    def set_fitness(self, db: Connection, fitness: Mapping[int, Fitness]) -> None:
        """Fitness of scored and of dropped evaluations by evaluation id."""
        for evaluation_id in sorted(fitness):
            _set_fitness(db, evaluation_id, fitness[evaluation_id])

    @reads
    def outcomes(self, db: Connection, evaluation_id: int) -> tuple[TaskOutcomes, ...]:
        """Per-document outcomes as they were stored, following `copied_from`."""
        root = find_evaluation(db, evaluation_id).copied_from or evaluation_id
        query = select(Outcome.task, Outcome.data).where(Outcome.evaluation_id == root)
        rows = db.execute(query.order_by(Outcome.position))
        return tuple(unpack(row.task, row.data) for row in rows)


def find_evaluation(db: Connection, evaluation_id: int) -> EvaluationRecord:
    """By id, else NotFoundError."""
    row = db.execute(_BY_ID, {"wanted": evaluation_id}).one_or_none()
    if row is None:
        raise NotFoundError(
            f"no evaluation {evaluation_id}", remedy="see `evomerge query progress`"
        )
    return evaluation_record(row, scores_where(db, Score.evaluation_id == row.root)[row.root])


def evaluation_query(*conditions: Any) -> Select[*tuple[Any, ...]]:
    """Each evaluation with its root's result and the costs of the attempt that decided."""
    own = Evaluation
    return (
        select(
            *(own.id, own.candidate_id, own.split, own.copied_from),
            *_fitness_columns(),
            *(Race.rival_id, Race.dropped),
            *(Root.id.label("root"), Root.status, Root.attempts, Root.failures),
            *(Root.error_type, Root.error, Root.retryable),
            *(Attempt.merge_seconds, Attempt.load_seconds, Attempt.forward_seconds),
            *(Attempt.overhead_seconds, Attempt.tokens),
        )
        .join(Candidate, Candidate.id == own.candidate_id)
        .join(Root, Root.id == func.coalesce(own.copied_from, own.id))
        .outerjoin(Race, Race.evaluation_id == Root.id)
        .outerjoin(Attempt, and_(Attempt.evaluation_id == Root.id, Attempt.status == "scored"))
        .where(*conditions)
    )


def _fitness_columns() -> list[Any]:
    """Of the evaluation, or the estimate where it lost its race."""
    names = ("fitness", "fitness_stderr", "violation")
    return [
        func.coalesce(getattr(Evaluation, name), getattr(Race, name)).label(name) for name in names
    ]


_BY_ID = evaluation_query(Evaluation.id == bindparam("wanted"))
"""Made once: to put such a statement together takes longer than to run it."""


def _status(row: Row[*tuple[Any, ...]]) -> EvaluationStatus:
    return EvaluationStatus.DROPPED if row.dropped else EvaluationStatus(row.status)


def _read(db: Connection, conditions: Sequence[Any], *order: Any) -> list[EvaluationRecord]:
    """Evaluations under these conditions, with their scores."""
    root = func.coalesce(Evaluation.copied_from, Evaluation.id)
    ids = select(root).join(Candidate, Candidate.id == Evaluation.candidate_id).where(*conditions)
    scores = scores_where(db, Score.evaluation_id.in_(ids))
    rows = db.execute(evaluation_query(*conditions).order_by(*order))
    return [evaluation_record(row, scores[row.root]) for row in rows]


def evaluation_record(row: Row[*tuple[Any, ...]], scores: Sequence[TaskScore]) -> EvaluationRecord:
    return EvaluationRecord(
        id=row.id,
        candidate_id=row.candidate_id,
        split=Split(row.split),
        status=_status(row),
        attempts=row.attempts,
        failures=row.failures,
        copied_from=row.copied_from,
        rival=row.rival_id,
        fitness=row.fitness,
        fitness_stderr=row.fitness_stderr,
        violation=row.violation,
        scores=tuple(scores),
        costs=costs_of(row),
        error_type=row.error_type,
        error=row.error,
        retryable=row.retryable,
    )


def _ids_by_candidate(
    db: Connection, search_id: str, split: Split, candidate_ids: Sequence[int]
) -> dict[int, int]:
    query = select(Evaluation.candidate_id, Evaluation.id).where(
        Evaluation.search_id == search_id,
        Evaluation.split == Split(split).value,
        Evaluation.candidate_id.in_(candidate_ids),
    )
    return {row.candidate_id: row.id for row in db.execute(query)}


def _check_belongs(search_id: str, wanted: str, candidate_id: int) -> None:
    if search_id != wanted:
        raise NotFoundError(
            f"candidate {candidate_id} belongs to search {search_id}, not to {wanted}",
            remedy=f"name a candidate of {wanted}",
        )


def _set_fitness(db: Connection, evaluation_id: int, fitness: Fitness) -> None:
    if math.isnan(fitness.value) or math.isnan(fitness.violation):
        raise ValueError(f"evaluation {evaluation_id}: NaN is no fitness")
    found = find_evaluation(db, evaluation_id)
    if found.status not in {EvaluationStatus.SCORED, EvaluationStatus.DROPPED}:
        raise StoreError(f"evaluation {evaluation_id} is not scored", remedy="score it first")
    values = {
        "fitness": float(fitness.value),
        "fitness_stderr": None if fitness.stderr is None else float(fitness.stderr),
        "violation": float(fitness.violation),
    }
    if found.status is EvaluationStatus.DROPPED:
        root = found.copied_from or evaluation_id
        db.execute(update(Race).where(Race.evaluation_id == root).values(**values))
    else:
        db.execute(update(Evaluation).where(Evaluation.id == evaluation_id).values(**values))
