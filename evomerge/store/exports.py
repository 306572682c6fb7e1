"""Exports that servers make: who asked for which candidate, where it goes, how far it is."""

from typing import Any

from sqlalchemy import Connection, Row, and_, insert, select, update

from evomerge.errors import NotFoundError, ResourceError
from evomerge.store.access import ExportRecord, ExportStatus
from evomerge.store.candidates import find_candidate
from evomerge.store.columns import now
from evomerge.store.holder import is_gone
from evomerge.store.owners import add_owner
from evomerge.store.queue import lock_queue
from evomerge.store.schema import Candidate, Export
from evomerge.store.text import clean
from evomerge.store.transactions import Transactions, reads, writes


class Exports(Transactions):
    """The exports of a store."""

    @writes
    def add_export(
        self, db: Connection, candidate_id: int, owner: str, folder: str
    ) -> ExportRecord:
        """A pending one; ResourceError where a folder of that name was asked for before."""
        find_candidate(db, candidate_id)
        lock_queue(db)
        if db.scalar(select(Export.id).where(Export.folder == folder)) is not None:
            raise ResourceError("is taken", where=folder, remedy="choose another name")
        add_owner(db, owner)
        values = {"candidate_id": candidate_id, "owner": owner, "folder": folder}
        values["status"] = ExportStatus.PENDING.value
        times = {"created_at": now(), "updated_at": now()}
        added = db.execute(insert(Export).values(**values, **times).returning(Export.id))
        return _find(db, added.scalar_one())

    @reads
    def export(self, db: Connection, export_id: int) -> ExportRecord:
        """By id, else NotFoundError."""
        return _find(db, export_id)

    @reads
    def exports(
        self, db: Connection, *, search_id: str | None = None, limit: int = 100
    ) -> list[ExportRecord]:
        """Newest first."""
        condition = [Candidate.search_id == search_id] if search_id is not None else []
        query = _query().where(*condition).order_by(Export.id.desc()).limit(limit)
        return [_record(row) for row in db.execute(query)]

    @writes
    def claim_export(self, db: Connection, server: str, seconds: float) -> ExportRecord | None:
        """The oldest one that nobody works on, now this server's; None where there is none."""
        lock_queue(db)
        left = (Export.claimed_until - now()).label("left")
        open_ones = Export.status.in_((ExportStatus.PENDING.value, ExportStatus.RUNNING.value))
        query = select(Export.id, Export.claimed_by, left).where(open_ones).order_by(Export.id)
        for row in db.execute(query):
            if row.claimed_by is None or row.left <= 0 or is_gone(row.claimed_by):
                values = {"claimed_by": server, "claimed_until": now() + float(seconds)}
                _set(db, row.id, status=ExportStatus.RUNNING.value, **values)
                return _find(db, row.id)
        return None

    @writes
    def renew_export(self, db: Connection, server: str, export_id: int, seconds: float) -> bool:
        """Keep the claim; False where it is another server's by now."""
        own = and_(Export.id == export_id, Export.claimed_by == server)
        query = update(Export).where(own).values(claimed_until=now() + float(seconds))
        return db.execute(query).rowcount == 1

    @writes
    def end_export(
        self, db: Connection, server: str, export_id: int, error: str | None = None
    ) -> bool:
        """It is done, or failed with `error`; False where it is another server's by now."""
        own = and_(Export.id == export_id, Export.claimed_by == server)
        status = ExportStatus.DONE if error is None else ExportStatus.FAILED
        values = {"status": status.value, "error": clean(error), "updated_at": now()}
        query = update(Export).where(own)
        ended = query.values(**values, claimed_by=None, claimed_until=None)
        return db.execute(ended).rowcount == 1

    @writes
    def release_export(self, db: Connection, server: str, export_id: int) -> None:
        """Give it back unfinished."""
        query = update(Export).where(Export.id == export_id, Export.claimed_by == server)
        values = {"status": ExportStatus.PENDING.value, "updated_at": now()}
        db.execute(query.values(**values, claimed_by=None, claimed_until=None))


def _set(db: Connection, export_id: int, **values: Any) -> None:
    query = update(Export).where(Export.id == export_id)
    db.execute(query.values(**values, updated_at=now()))


def _query() -> Any:
    joined = select(Export.__table__, Candidate.search_id)
    return joined.join(Candidate, Candidate.id == Export.candidate_id)


def _find(db: Connection, export_id: int) -> ExportRecord:
    row = db.execute(_query().where(Export.id == export_id)).one_or_none()
    if row is None:
        raise NotFoundError(f"no export {export_id}", remedy="see the list of exports")
    return _record(row)


def _record(row: Row[*tuple[Any, ...]]) -> ExportRecord:
    return ExportRecord(
        id=row.id,
        candidate_id=row.candidate_id,
        search_id=row.search_id,
        owner=row.owner,
        folder=row.folder,
        status=ExportStatus(row.status),
        error=row.error,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
