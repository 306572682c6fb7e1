"""Attempts of workers at evaluations: one decides, the others are kept for the record."""

from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from evomerge.errors import (
    CandidateError,
    NodeLostError,
    NotFoundError,
    StoreError,
    WorkerLostError,
)
from evomerge.fitness import EvaluationResult
from evomerge.store.columns import now
from evomerge.store.rows import (
    add_outcomes,
    add_scores,
    cost_columns,
    scores_from_json,
    scores_to_json,
)
from evomerge.store.schema import Attempt, Evaluation, Race
from evomerge.store.text import clean
from evomerge.store.transactions import Transactions, reads, writes
from evomerge.store.types import AttemptRecord, EvaluationStatus

RUNNING, SCORED, FAILED, LOST, LATE = "running", "scored", "failed", "lost", "late"


class Attempts(Transactions):
    """What workers write. The attempt number, not the lease, says who may."""

    @writes
    def begin_attempt(self, db: Connection, evaluation_id: int, worker: str) -> int:
        """Start a new attempt and return its number from 1; a running one is marked lost."""
        evaluation = _lock(db, evaluation_id)
        _check_open(evaluation)
        number = int(evaluation.attempts) + 1
        running = _attempts(evaluation_id).where(Attempt.status == RUNNING)
        db.execute(running.values(status=LOST, finished_at=now()))
        values = {"evaluation_id": evaluation_id, "number": number, "worker": clean(worker)}
        db.execute(insert(Attempt).values(**values, status=RUNNING, started_at=now()))
        _set(db, evaluation_id, status=EvaluationStatus.RUNNING.value, attempts=number)
        return number

    @writes
    def finish_attempt(
        self, db: Connection, evaluation_id: int, attempt: int, result: EvaluationResult
    ) -> bool:
        """Store scores, outcomes and costs. True where this attempt decides."""
        evaluation = _lock(db, evaluation_id)
        costs = cost_columns(result.costs)
        if not _is_current(evaluation, attempt):
            late = scores_to_json(result.scores)
            _record_late(db, evaluation, attempt, late_scores=late, **costs)
            return False
        add_scores(db, evaluation_id, result.scores)
        add_outcomes(db, evaluation_id, result.outcomes)
        _end(db, evaluation_id, attempt, status=SCORED, **costs)
        _set(db, evaluation_id, status=SCORED, error_type=None, error=None)
        race = update(Race).where(Race.evaluation_id == evaluation_id)
        db.execute(race.values(dropped=result.dropped))
        return True

    @writes
    def fail_attempt(
        self,
        db: Connection,
        evaluation_id: int,
        attempt: int,
        error: CandidateError,
        *,
        final: bool,
    ) -> bool:
        """Record a failure; `final` makes the evaluation failed, else it is pending again."""
        evaluation = _lock(db, evaluation_id)
        reason = {"error_type": type(error).__name__, "error": clean(str(error))}
        if not _is_current(evaluation, attempt):
            _record_late(db, evaluation, attempt, **reason)
            return False
        lost = isinstance(error, WorkerLostError)
        _end(db, evaluation_id, attempt, status=LOST if lost else FAILED, **reason)
        status = EvaluationStatus.FAILED if final else EvaluationStatus.PENDING
        failures = int(evaluation.failures) + (not isinstance(error, NodeLostError))
        retryable = bool(error.retryable)
        _set(
            db, evaluation_id, status=status.value, failures=failures, retryable=retryable, **reason
        )
        return True

    @reads
    def attempts(self, db: Connection, evaluation_id: int) -> list[AttemptRecord]:
        """By number; of the evaluation itself, not of one that it follows."""
        query = select(Attempt.__table__).where(Attempt.evaluation_id == evaluation_id)
        return [_record(row) for row in db.execute(query.order_by(Attempt.number))]


def _lock(db: Connection, evaluation_id: int) -> Row[*tuple[Any, ...]]:
    """The evaluation, which nobody else changes until the transaction ends."""
    query = (
        select(Evaluation.__table__)
        .where(Evaluation.id == evaluation_id)
        .with_for_update(key_share=True)
    )
    row = db.execute(query).one_or_none()
    if row is None:
        raise NotFoundError(
            f"no evaluation {evaluation_id}", remedy="see `evomerge query progress`"
        )
    return row


def _check_open(evaluation: Row[*tuple[Any, ...]]) -> None:
    if evaluation.copied_from is not None:
        raise StoreError(
            f"evaluation {evaluation.id} takes its result from evaluation {evaluation.copied_from}",
            remedy="score that one",
        )
    if evaluation.status in {EvaluationStatus.SCORED, EvaluationStatus.FAILED}:
        raise StoreError(
            f"evaluation {evaluation.id} is {evaluation.status} already", remedy="nothing to do"
        )


def _is_current(evaluation: Row[*tuple[Any, ...]], attempt: int) -> bool:
    return bool(evaluation.status == RUNNING and evaluation.attempts == attempt)


def _record_late(
    db: Connection, evaluation: Row[*tuple[Any, ...]], attempt: int, **values: Any
) -> None:
    """Keep what a given up attempt brought after all; one that had ended by itself stays as it is."""
    if not 1 <= attempt <= evaluation.attempts:
        raise NotFoundError(
            f"evaluation {evaluation.id} has no attempt {attempt}", remedy="begin it first"
        )
    lost = _attempts(evaluation.id).where(Attempt.number == attempt, Attempt.status == LOST)
    db.execute(lost.values(status=LATE, finished_at=now(), **values))


def _end(db: Connection, evaluation_id: int, attempt: int, **values: Any) -> None:
    this = _attempts(evaluation_id).where(Attempt.number == attempt)
    db.execute(this.values(finished_at=now(), **values))


def _attempts(evaluation_id: int) -> Any:
    return update(Attempt).where(Attempt.evaluation_id == evaluation_id)


def _set(db: Connection, evaluation_id: int, **values: Any) -> None:
    db.execute(update(Evaluation).where(Evaluation.id == evaluation_id).values(**values))


def _record(row: Row[*tuple[Any, ...]]) -> AttemptRecord:
    return AttemptRecord(
        evaluation_id=row.evaluation_id,
        number=row.number,
        worker=row.worker,
        status=row.status,
        started_at=row.started_at,
        finished_at=row.finished_at,
        error_type=row.error_type,
        error=row.error,
        late_scores=scores_from_json(row.late_scores),
    )
