"""What workers do now, what they did lately, and what went wrong: each along an index, and bounded."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Double, Row, Select, case, func, select, text, type_coerce

from evomerge.fitness import Split
from evomerge.store.columns import now
from evomerge.store.pages import Job, Mishap, Window, WorkerTime
from evomerge.store.schema import MISHAPS, Attempt, Candidate, Evaluation, Search
from evomerge.store.transactions import Transactions, reads

RECENT = 3_000
_STARTED = type_coerce(Attempt.started_at, Double)
_FINISHED = type_coerce(Attempt.finished_at, Double)
_KINDS = {
    "merge": Attempt.merge_seconds,
    "load": Attempt.load_seconds,
    "forward": Attempt.forward_seconds,
    "overhead": Attempt.overhead_seconds,
}


class Labour(Transactions):
    """Attempts, as people ask about them."""

    @reads
    def jobs(self, db: Connection, limit: int = 2000) -> list[Job]:
        """What is under way in all searches, the longest first."""
        query = (
            select(
                *(Attempt.worker, Evaluation.search_id, Search.name.label("search_name")),
                *(Candidate.number, Candidate.label, Evaluation.split),
                *(Attempt.number.label("attempt"), _STARTED.label("started_at")),
                now().label("now"),
            )
            .join(Evaluation, Evaluation.id == Attempt.evaluation_id)
            .join(Candidate, Candidate.id == Evaluation.candidate_id)
            .join(Search, Search.id == Evaluation.search_id)
            .where(Attempt.status == "running")
            .order_by(_STARTED, Attempt.evaluation_id)
        )
        return [
            Job(**{**row._mapping, "split": Split(row.split)})
            for row in db.execute(query.limit(limit))
        ]

    @reads
    def mishaps(
        self,
        db: Connection,
        search_ids: Sequence[str] | None = None,
        *,
        limit: int = 50,
        offset: int = 0,
    ) -> list[Mishap]:
        """Attempts that failed, were lost or came late, newest first; of some searches, or of all."""
        query = (
            select(
                *(Evaluation.search_id, Search.name.label("search_name"), Candidate.number),
                *(Evaluation.split, Attempt.number.label("attempt"), Attempt.worker),
                *(Attempt.status, Attempt.error_type, Attempt.error),
                *(Attempt.finished_at.label("at"), Evaluation.status.label("standing")),
            )
            .join(Evaluation, Evaluation.id == Attempt.evaluation_id)
            .join(Candidate, Candidate.id == Evaluation.candidate_id)
            .join(Search, Search.id == Evaluation.search_id)
            .where(*_mishap(search_ids))
            .order_by(_FINISHED.desc(), Attempt.evaluation_id, Attempt.number)
        )
        return [_mishap_of(row) for row in db.execute(query.limit(limit).offset(offset))]

    @reads
    def mishap_counts(
        self, db: Connection, search_ids: Sequence[str] | None = None
    ) -> dict[tuple[str, str], int]:
        """How often each kind of error came, by its class and the status of the attempt."""
        kind = func.coalesce(Attempt.error_type, Attempt.status)
        query = (
            select(kind, Attempt.status, func.count())
            .join(Evaluation, Evaluation.id == Attempt.evaluation_id)
            .where(*_mishap(search_ids))
            .group_by(kind, Attempt.status)
        )
        return {(error, status): int(count) for error, status, count in db.execute(query)}

    @reads
    def worker_times(
        self, db: Connection, search_id: str | None = None, *, latest: int = RECENT
    ) -> Window:
        """Worker time of the latest evaluations of a search, or of the whole store."""
        ids = select(Evaluation.id)
        count = select(func.count()).select_from(Evaluation)
        if search_id is not None:
            ids = ids.where(Evaluation.search_id == search_id)
            count = count.where(Evaluation.search_id == search_id)
        recent = ids.order_by(Evaluation.id.desc()).limit(latest)
        total = int(db.scalar(count) or 0)
        rows = db.execute(_times(recent)).all()
        return Window(tuple(map(_worker_time, rows)), min(total, latest), total <= latest)

    @reads
    def pace(self, db: Connection, search_id: str, last: int = 50) -> float | None:
        """Results a second, by the latest results that the strategy was told; None before there are
        two."""
        newest = select(func.max(Candidate.told)).where(Candidate.search_id == search_id)
        told = db.scalar(newest)
        if told is None:
            return None
        query = (
            select(func.count(), func.min(_FINISHED), now())
            .select_from(Candidate)
            .join(Evaluation, Evaluation.candidate_id == Candidate.id)
            .join(Attempt, Attempt.evaluation_id == Evaluation.id)
            .where(
                Candidate.search_id == search_id,
                Candidate.told > told - last,
                Evaluation.split == Split.SEARCH.value,
                Attempt.status == "scored",
            )
        )
        count, since, at = db.execute(query).one()
        return (count - 1) / (at - since) if count > 1 and at > since else None

    @reads
    def spent_seconds(self, db: Connection, search_id: str) -> tuple[float, int]:
        """Worker seconds and tokens of all results of a search that count: what budgets count."""
        query = (
            select(*(func.sum(seconds) for seconds in _KINDS.values()), func.sum(Attempt.tokens))
            .join(Evaluation, Evaluation.id == Attempt.evaluation_id)
            .where(Evaluation.search_id == search_id, Attempt.status == "scored")
        )
        *seconds, tokens = db.execute(query).one()
        return sum(float(one or 0.0) for one in seconds), int(tokens or 0)


def _mishap(search_ids: Sequence[str] | None) -> list[Any]:
    # In these very words, so that both databases know that the partial index has all of them.
    conditions: list[Any] = [text(f"attempts.{MISHAPS}")]
    if search_ids is not None:
        # Joined with nothing, the column has no index that could be taken instead: a search has many
        # more evaluations than there are mishaps.
        conditions.append((Evaluation.search_id + "").in_(search_ids))
    return conditions


def _mishap_of(row: Row[*tuple[Any, ...]]) -> Mishap:
    return Mishap(**{**row._mapping, "split": Split(row.split)})


def _times(evaluations: Select[*tuple[Any, ...]]) -> Select[*tuple[Any, ...]]:
    own = {
        kind: func.sum(case((Attempt.status == "scored", seconds), else_=0.0)).label(kind)
        for kind, seconds in _KINDS.items()
    }
    lost = case((Attempt.status != "scored", _FINISHED - _STARTED), else_=0.0)
    return (
        select(
            Attempt.worker,
            func.count().label("attempts"),
            *own.values(),
            func.sum(lost).label("lost"),
            func.sum(_FINISHED - _STARTED).label("busy"),
            (func.max(_FINISHED) - func.min(_STARTED)).label("present"),
            func.max(func.coalesce(_FINISHED, _STARTED)).label("last_at"),
        )
        .where(Attempt.evaluation_id.in_(evaluations))
        .group_by(Attempt.worker)
        .order_by(Attempt.worker)
    )


def _worker_time(row: Row[*tuple[Any, ...]]) -> WorkerTime:
    kinds = (*_KINDS, "lost")
    return WorkerTime(
        worker=row.worker,
        attempts=int(row.attempts),
        seconds={kind: float(getattr(row, kind) or 0.0) for kind in kinds},
        busy=float(row.busy or 0.0),
        present=float(row.present or 0.0),
        last_at=float(row.last_at),
    )
