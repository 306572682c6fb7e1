"""Which searches' per-document outcomes lie in a file instead of the database.

Only searches that ended are archived, and none whose results an open search follows. From the moment
that an archive is noted nobody follows its evaluations any more; everything else about the search stays
in the database, and so do its scores.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, delete, exists, func, insert, select, update
from sqlalchemy.orm import aliased

from evomerge.errors import NotFoundError, StoreError
from evomerge.store.columns import now
from evomerge.store.schema import Archive, Evaluation, Outcome, Search
from evomerge.store.transactions import Transactions, reads, writes
from evomerge.store.types import SearchStatus

ENDED = (SearchStatus.FINISHED.value, SearchStatus.CANCELLED.value)


@dataclass(frozen=True)
class OutcomeRow:
    """One task's outcomes of one evaluation, as they are stored."""

    evaluation_id: int
    task: str
    position: int
    documents: int
    data: bytes


@dataclass(frozen=True)
class ArchiveRecord:
    """deleted_at: when the last of them left the database; None while some may be there."""

    search_id: str
    file: str
    sha256: str
    outcomes: int
    created_at: datetime
    deleted_at: datetime | None


class Archives(Transactions):
    """The archives of a store. Files are for `store.archive` to write and read."""

    @reads
    def archives(self, db: Connection) -> list[ArchiveRecord]:
        """Oldest first."""
        query = select(Archive.__table__).order_by(Archive.created_at, Archive.search_id)
        return [ArchiveRecord(**row._mapping) for row in db.execute(query)]

    @reads
    def archivable(self, db: Connection, days: float) -> list[str]:
        """Ended searches that nothing was written to for so long, with outcomes, not archived yet."""
        has_outcomes = exists().where(
            Evaluation.search_id == Search.id, Outcome.evaluation_id == Evaluation.id
        )
        query = select(Search.id).where(
            Search.status.in_(ENDED),
            Search.updated_at <= now() - 86400.0 * float(days),
            ~exists().where(Archive.search_id == Search.id),
            has_outcomes,
        )
        return list(db.scalars(query.order_by(Search.id)))

    @reads
    def outcome_rows(
        self, db: Connection, search_id: str, after: tuple[int, str], limit: int
    ) -> list[OutcomeRow]:
        """The next `limit` outcomes of a search's own evaluations after (evaluation, task), in order."""
        own = _own(search_id)
        place = (Outcome.evaluation_id > after[0]) | (
            (Outcome.evaluation_id == after[0]) & (Outcome.task > after[1])
        )
        query = select(Outcome.__table__).where(Outcome.evaluation_id.in_(own), place)
        rows = db.execute(query.order_by(Outcome.evaluation_id, Outcome.task).limit(limit))
        return [OutcomeRow(**row._mapping) for row in rows]

    @writes
    def begin_archive(
        self, db: Connection, search_id: str, file: str, sha256: str, outcomes: int
    ) -> None:
        """Note an archive that was written and verified. StoreError where the search is open, or an
        open one follows it."""
        _check_may_go(db, search_id)
        values = {"search_id": search_id, "file": file, "sha256": sha256, "outcomes": outcomes}
        db.execute(insert(Archive).values(**values, created_at=now()))

    @writes
    def delete_outcomes(self, db: Connection, search_id: str, limit: int) -> int:
        """Delete the outcomes of at most `limit` evaluations of an archived search; how many went."""
        _find(db, search_id)
        _check_may_go(db, search_id)
        some = (
            select(Outcome.evaluation_id)
            .where(Outcome.evaluation_id.in_(_own(search_id)))
            .distinct()
            .order_by(Outcome.evaluation_id)
            .limit(limit)
        )
        ids = list(db.scalars(some))
        gone = db.execute(delete(Outcome).where(Outcome.evaluation_id.in_(ids))).rowcount
        if len(ids) < limit:
            ended = update(Archive).where(Archive.search_id == search_id)
            db.execute(ended.values(deleted_at=now()))
        return int(gone)

    @writes
    def put_back(self, db: Connection, search_id: str, rows: Sequence[OutcomeRow]) -> int:
        """Insert outcomes that an archive kept, where they are missing; how many came."""
        _find(db, search_id)
        ids = {row.evaluation_id for row in rows}
        known = select(Evaluation.id).where(
            Evaluation.id.in_(ids), Evaluation.search_id == search_id
        )
        if strange := ids - set(db.scalars(known)):
            raise StoreError(
                f"evaluation {min(strange)} is none of search {search_id}",
                remedy="restore the archive into the store that it was made from",
            )
        there = select(Outcome.evaluation_id, Outcome.task).where(Outcome.evaluation_id.in_(ids))
        present = {(row.evaluation_id, row.task) for row in db.execute(there)}
        missing = [vars(row) for row in rows if (row.evaluation_id, row.task) not in present]
        if missing:
            db.execute(insert(Outcome), missing)
        return len(missing)

    @writes
    def end_archive(self, db: Connection, search_id: str) -> None:
        """Forget an archive whose outcomes are all back; StoreError where some are missing."""
        archive = _find(db, search_id)
        own = select(func.count()).where(Outcome.evaluation_id.in_(_own(search_id)))
        found = db.scalar(own)
        if found != archive.outcomes:
            raise StoreError(
                f"{found} of {archive.outcomes} outcomes are back",
                where=f"search {search_id}",
                remedy="restore the whole archive again; what is there already is left as it is",
            )
        db.execute(delete(Archive).where(Archive.search_id == search_id))


def _own(search_id: str) -> Any:
    return select(Evaluation.id).where(Evaluation.search_id == search_id)


def _find(db: Connection, search_id: str) -> Row[*tuple[object, ...]]:
    row = db.execute(select(Archive.__table__).where(Archive.search_id == search_id)).one_or_none()
    if row is None:
        raise NotFoundError(
            f"search {search_id} has no archive", remedy="see `evomerge db archives`"
        )
    return row


def _check_may_go(db: Connection, search_id: str) -> None:
    """StoreError unless a search ended and no open one follows any of its evaluations."""
    status = db.scalar(select(Search.status).where(Search.id == search_id))
    if status not in ENDED:
        raise StoreError(
            f"search {search_id} is {status or 'not there'}",
            remedy="only searches that finished or were cancelled are archived",
        )
    follower, followed = aliased(Evaluation), aliased(Evaluation)
    query = (
        select(Search.id)
        .join(follower, follower.search_id == Search.id)
        .join(followed, followed.id == follower.copied_from)
        .where(followed.search_id == search_id, Search.status.not_in(ENDED))
        .limit(1)
    )
    open_one = db.scalar(query)
    if open_one is not None:
        raise StoreError(
            f"search {open_one} is open and follows results of {search_id}",
            remedy="archive it once that one has ended",
        )
