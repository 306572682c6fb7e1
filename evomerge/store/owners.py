"""Owners: who has searches on a server, with their share and limits."""

from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from evomerge.errors import NotFoundError, UsageError
from evomerge.store.access import OwnerLimits, OwnerRecord
from evomerge.store.columns import now
from evomerge.store.schema import Owner
from evomerge.store.transactions import Transactions, reads, writes

LONGEST_NAME = 100


class Owners(Transactions):
    """The people, teams or programs that share a server."""

    @reads
    def owners(self, db: Connection) -> list[OwnerRecord]:
        """By name."""
        return [owner_record(row) for row in _select(db)]

    @reads
    def owner(self, db: Connection, name: str) -> OwnerRecord:
        """By name, else NotFoundError."""
        return _find(db, name)

    @writes
    def ensure_owner(self, db: Connection, name: str) -> OwnerRecord:
        """The owner of that name, made where it is new."""
        add_owner(db, name)
        return _find(db, name)

    @writes
    def set_owner(
        self, db: Connection, name: str, *, weight: float, limits: OwnerLimits
    ) -> OwnerRecord:
        """Replace weight and limits; NotFoundError."""
        values = {
            "weight": float(weight),
            "max_running": limits.running,
            "max_queued": limits.queued,
            "max_candidates": limits.candidates,
            "max_workers": limits.workers,
            "max_hours": limits.hours,
        }
        db.execute(update(Owner).where(Owner.name == name).values(**values))
        return _find(db, name)


def add_owner(db: Connection, name: str) -> None:
    """Make an owner unless there is one of that name; UsageError where it is no name."""
    if not name.strip() or len(name) > LONGEST_NAME or not name.isprintable():
        raise UsageError(
            "an owner's name is one line of 1 to 100 letters",
            where="owner",
            remedy="choose another",
        )
    if db.scalar(select(Owner.name).where(Owner.name == name)) is not None:
        return
    values = {"name": name, "weight": 1.0, "used": 0.0, "used_at": now(), "created_at": now()}
    statement: Any = insert(Owner)
    if db.dialect.name == "postgresql":  # two servers may meet the same newcomer
        from sqlalchemy.dialects.postgresql import insert as postgres_insert

        statement = postgres_insert(Owner).on_conflict_do_nothing()
    db.execute(statement.values(**values))


def _select(db: Connection, *conditions: Any) -> Any:
    return db.execute(select(Owner.__table__).where(*conditions).order_by(Owner.name))


def _find(db: Connection, name: str) -> OwnerRecord:
    for row in _select(db, Owner.name == name):
        return owner_record(row)
    raise NotFoundError(f"no owner {name!r}", remedy="owners come with their first token")


def owner_record(row: Row[*tuple[Any, ...]]) -> OwnerRecord:
    """A row of the table."""
    limits = OwnerLimits(
        row.max_running, row.max_queued, row.max_candidates, row.max_workers, row.max_hours
    )
    return OwnerRecord(row.name, row.weight, limits, row.used, row.used_at)
