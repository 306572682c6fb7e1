"""What happens in the whole store, in numbers: for metrics and health, quick however long it is.

Counts of what stands now come from indexes. What ended is counted between two moments, so that whoever
asks regularly adds up small windows instead of reading everything again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Double, and_, case, func, select, type_coerce

from evomerge.store.columns import now
from evomerge.store.schema import Attempt, Evaluation, Race, Score, Search
from evomerge.store.transactions import Transactions, reads

STAGES = ("merge", "load", "forward", "overhead")
_SECONDS = {
    "merge": Attempt.merge_seconds,
    "load": Attempt.load_seconds,
    "forward": Attempt.forward_seconds,
    "overhead": Attempt.overhead_seconds,
}


@dataclass(frozen=True)
class Standing:
    """What there is now.

    searches: by status. evaluations: by split and status (`reused`: follows another one). leases:
    `held`, and `expired` ones that nobody gave back. busy: attempts under way.
    """

    searches: Mapping[str, int]
    evaluations: Mapping[tuple[str, str], int]
    leases: Mapping[str, int]
    busy: int


@dataclass(frozen=True)
class Spent:
    """What attempts that ended within a window cost.

    attempts: by status. sums: seconds of each stage. buckets: for each stage and limit, how many
    attempts took at most that long. count: attempts that have costs.
    """

    attempts: Mapping[str, int] = field(default_factory=dict)
    sums: Mapping[str, float] = field(default_factory=dict)
    buckets: Mapping[str, Sequence[int]] = field(default_factory=dict)
    count: int = 0
    tokens: int = 0
    documents: int = 0


class Activity(Transactions):
    """What is asked of a whole store."""

    @reads
    def clock(self, db: Connection) -> float:
        """The database's own clock, in seconds since 1970; the shortest question there is."""
        return float(db.scalar(select(now())) or 0.0)

    @reads
    def standing(self, db: Connection) -> Standing:
        """Searches, evaluations, leases and running attempts by status."""
        searches = db.execute(select(Search.status, func.count()).group_by(Search.status))
        held = func.coalesce(func.sum(case((Search.lease_until >= now(), 1), else_=0)), 0)
        expired = func.coalesce(func.sum(case((Search.lease_until < now(), 1), else_=0)), 0)
        leases = db.execute(select(held, expired)).one()
        busy = select(func.count()).where(Attempt.status == "running")
        return Standing(
            {status: int(count) for status, count in searches},
            _evaluations(db),
            {"held": int(leases[0]), "expired": int(leases[1])},
            int(db.scalar(busy) or 0),
        )

    @reads
    def spent(self, db: Connection, after: float, until: float, limits: Sequence[float]) -> Spent:
        """What attempts cost that ended after one moment and until another one, inclusive.

        Args:
            after, until: seconds since 1970 by the database's clock.
            limits: upper ends of the buckets, in seconds.
        """
        ended = type_coerce(Attempt.finished_at, Double)
        window = and_(ended > after, ended <= until)
        statuses = select(Attempt.status, func.count()).where(window).group_by(Attempt.status)
        columns: list[Any] = [func.count(Attempt.tokens), func.sum(Attempt.tokens)]
        for seconds in _SECONDS.values():
            columns.append(func.sum(seconds))
            columns += [func.sum(case((seconds <= limit, 1), else_=0)) for limit in limits]
        numbers = list(db.execute(select(*columns).where(window)).one())
        count, tokens = int(numbers[0] or 0), int(numbers[1] or 0)
        width = 1 + len(limits)
        parts = {
            stage: numbers[2 + place * width : 2 + (place + 1) * width]
            for place, stage in enumerate(STAGES)
        }
        return Spent(
            {status: int(found) for status, found in db.execute(statuses)},
            {stage: float(part[0] or 0.0) for stage, part in parts.items()},
            {stage: [int(one or 0) for one in part[1:]] for stage, part in parts.items()},
            count,
            tokens,
            _documents(db, window),
        )


def _evaluations(db: Connection) -> dict[tuple[str, str], int]:
    status = func.coalesce(Evaluation.status, "reused")
    query = select(Evaluation.split, status, func.count()).group_by(Evaluation.split, status)
    found = {(split, name): int(count) for split, name, count in db.execute(query)}
    lost = select(Evaluation.split, func.count()).join(Race, Race.evaluation_id == Evaluation.id)
    for split, count in db.execute(lost.where(Race.dropped.is_(True)).group_by(Evaluation.split)):
        found[split, "dropped"] = int(count)
        found[split, "scored"] = found.get((split, "scored"), 0) - int(count)
    return found


def _documents(db: Connection, window: Any) -> int:
    """Documents answered, over all tasks; from scores, which stay when outcomes are archived."""
    query = (
        select(func.sum(Score.n))
        .select_from(Attempt)
        .join(Score, Score.evaluation_id == Attempt.evaluation_id)
        .where(window, Attempt.status == "scored", Score.headline.is_(True))
    )
    return int(db.scalar(query) or 0)
