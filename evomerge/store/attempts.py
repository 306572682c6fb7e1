"""Attempts of workers at evaluations: one decides, the others are kept for the record."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from evomerge.errors import CandidateError, NotFoundError, StoreError, WorkerLostError
from evomerge.fitness import Costs, EvaluationResult, TaskOutcomes, TaskScore
from evomerge.store.codec import pack
from evomerge.store.connection import Transactions, reads, writes
from evomerge.store.schema import Attempt, Evaluation, Outcome, Score, now
from evomerge.store.text import clean
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
        costs = _cost_columns(result.costs)
        if not _is_current(evaluation, attempt):
            late = _to_json(result.scores)
            _record_late(db, evaluation_id, attempt, late_scores=late, **costs)
            return False
        _add_scores(db, evaluation_id, result.scores)
        _add_outcomes(db, evaluation_id, result.outcomes)
        _end(db, evaluation_id, attempt, status=SCORED, **costs)
        _set(db, evaluation_id, status=SCORED, error_type=None, error=None)
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
            _record_late(db, evaluation_id, attempt, **reason)
            return False
        lost = isinstance(error, WorkerLostError)
        _end(db, evaluation_id, attempt, status=LOST if lost else FAILED, **reason)
        status = EvaluationStatus.FAILED if final else EvaluationStatus.PENDING
        failures = int(evaluation.failures) + 1
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


def _record_late(db: Connection, evaluation_id: int, attempt: int, **values: Any) -> None:
    """Keep what a given up attempt brought after all; one that had ended by itself stays as it is."""
    if not 1 <= attempt <= _lock(db, evaluation_id).attempts:
        raise NotFoundError(
            f"evaluation {evaluation_id} has no attempt {attempt}", remedy="begin it first"
        )
    lost = _attempts(evaluation_id).where(Attempt.number == attempt, Attempt.status == LOST)
    db.execute(lost.values(status=LATE, finished_at=now(), **values))


def _end(db: Connection, evaluation_id: int, attempt: int, **values: Any) -> None:
    this = _attempts(evaluation_id).where(Attempt.number == attempt)
    db.execute(this.values(finished_at=now(), **values))


def _attempts(evaluation_id: int) -> Any:
    return update(Attempt).where(Attempt.evaluation_id == evaluation_id)


def _set(db: Connection, evaluation_id: int, **values: Any) -> None:
    db.execute(update(Evaluation).where(Evaluation.id == evaluation_id).values(**values))


def _add_scores(db: Connection, evaluation_id: int, scores: Sequence[TaskScore]) -> None:
    rows = [
        {
            "evaluation_id": evaluation_id,
            "position": position,
            "task": score.task,
            "metric": score.metric,
            "value": _number(score.value),
            "stderr": _number(score.stderr),
            "n": int(score.n),
            "headline": bool(score.headline),
        }
        for position, score in enumerate(scores)
    ]
    if rows:
        db.execute(insert(Score), rows)


def _add_outcomes(db: Connection, evaluation_id: int, outcomes: Sequence[TaskOutcomes]) -> None:
    rows = [
        {
            "evaluation_id": evaluation_id,
            "position": position,
            "task": outcome.task,
            "documents": len(outcome.doc_ids),
            "data": pack(outcome),
        }
        for position, outcome in enumerate(outcomes)
    ]
    if rows:
        db.execute(insert(Outcome), rows)


def _number(value: float | None) -> float | None:
    """NaN as NULL: SQLite has no NaN, and PostgreSQL would sort it first."""
    return None if value is None or math.isnan(value) else float(value)


def _cost_columns(costs: Costs) -> dict[str, Any]:
    seconds = {name: float(value) for name, value in asdict(costs).items() if name != "tokens"}
    return {**seconds, "tokens": int(costs.tokens)}


def _to_json(scores: Sequence[TaskScore]) -> str:
    rows = [
        {**asdict(score), "value": _number(score.value), "stderr": _number(score.stderr)}
        for score in scores
    ]
    return json.dumps(rows, separators=(",", ":"), default=int)


def _from_json(text: str | None) -> tuple[TaskScore, ...]:
    rows = json.loads(text) if text else ()
    return tuple(
        TaskScore(**{**row, "value": math.nan if row["value"] is None else row["value"]})
        for row in rows
    )


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
        late_scores=_from_json(row.late_scores),
    )
