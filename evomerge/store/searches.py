"""Searches and their leases: one controller a search, by the database's clock."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Connection, Row, bindparam, delete, insert, select, update

from evomerge.errors import LeaseLostError, NotFoundError, StoreError, did_you_mean
from evomerge.limits import Limits
from evomerge.spec import SearchSpec
from evomerge.store.columns import now
from evomerge.store.holder import is_gone
from evomerge.store.names import random_name
from evomerge.store.schema import Limit, Queued, Search
from evomerge.store.text import clean
from evomerge.store.transactions import Transactions, reads, writes
from evomerge.store.types import SearchRecord, SearchStatus, Wanted

SEARCH_COLUMNS = (
    Search.id,
    Search.name,
    Search.status,
    Search.spec,
    Search.scope,
    Search.versions,
    Search.created_at,
    Search.updated_at,
    Search.message,
)

_WANTED = (
    select(Search.status, Limit.limits, Queued.workers)
    .outerjoin(Limit, Limit.search_id == Search.id)
    .outerjoin(Queued, Queued.search_id == Search.id)
    .where(Search.id == bindparam("search"))
)
"""Made once: to put such a statement together takes longer than to run it."""


class Searches(Transactions):
    """The searches of a store."""

    @writes
    def create_search(
        self,
        db: Connection,
        spec: SearchSpec,
        *,
        scope: str,
        versions: Mapping[str, str],
        search_id: str | None = None,
    ) -> SearchRecord:
        """A new pending search; its id is a short random name unless given."""
        return insert_search(db, spec, scope=scope, versions=versions, search_id=search_id)

    @reads
    def search(self, db: Connection, search_id: str) -> SearchRecord:
        """By id, by unique prefix of an id, or by name where only one has it."""
        return require_search(db, find_search(db, search_id))

    @reads
    def searches(self, db: Connection) -> list[SearchRecord]:
        """Newest first."""
        query = select(*SEARCH_COLUMNS).order_by(Search.created_at.desc(), Search.id)
        return [search_of(row) for row in db.execute(query)]

    @writes
    def set_status(
        self,
        db: Connection,
        search_id: str,
        status: SearchStatus,
        *,
        message: str | None = None,
        only_from: Sequence[SearchStatus] = (),
    ) -> bool:
        """Compare and set; the message is replaced too. Returns whether the status changed."""
        condition = [Search.status.in_([s.value for s in only_from])] if only_from else []
        query = update(Search).where(Search.id == search_id, *condition)
        values = {"status": SearchStatus(status).value, "message": clean(message)}
        changed = db.execute(query.values(**values, updated_at=now())).rowcount == 1
        if not changed:
            require_search(db, search_id)
        return changed

    @reads
    def limits(self, db: Connection, search_id: str) -> Limits:
        """What its user changed since it was submitted."""
        text = db.scalar(select(Limit.limits).where(Limit.search_id == search_id))
        return Limits.model_validate_json(text) if text else Limits()

    @reads
    def wanted(self, db: Connection, search_id: str) -> Wanted:
        """What its user and the servers want of it, without reading its file."""
        row = db.execute(_WANTED, {"search": search_id}).one_or_none()
        if row is None:
            raise NotFoundError(f"no search {search_id}", remedy="see `evomerge list`")
        limits = Limits.model_validate_json(row.limits) if row.limits else Limits()
        return Wanted(SearchStatus(row.status), limits, row.workers)

    @writes
    def set_limits(self, db: Connection, search_id: str, limits: Limits) -> None:
        """Replace the limits; NotFoundError where there is no such search."""
        require_search(db, search_id)
        db.execute(delete(Limit).where(Limit.search_id == search_id))
        db.execute(insert(Limit).values(search_id=search_id, limits=limits.model_dump_json()))

    @writes
    def acquire_lease(self, db: Connection, search_id: str, owner: str, seconds: float) -> None:
        """Take the lease for so many seconds from now, else LeaseLostError."""
        held = _lock_search(db, search_id)
        if (
            held.lease_owner not in (None, owner)
            and held.left > 0
            and not is_gone(held.lease_owner)
        ):
            raise LeaseLostError(
                f"search {search_id} is controlled by {held.lease_owner}",
                where="lease",
                remedy=f"stop it there, or wait: its lease runs out in {held.left:.0f} s",
            )
        values = {"lease_owner": owner, "lease_until": now() + float(seconds)}
        db.execute(update(Search).where(Search.id == search_id).values(**values))

    @writes
    def renew_lease(self, db: Connection, search_id: str, owner: str, seconds: float) -> None:
        """Keep the lease for so many seconds from now; LeaseLostError where it is no longer held."""
        check_lease(db, search_id, owner)
        until = update(Search).where(Search.id == search_id)
        db.execute(until.values(lease_until=now() + float(seconds)))

    @writes
    def release_lease(self, db: Connection, search_id: str, owner: str) -> None:
        """Give the lease back; nothing happens where another holds it by now."""
        held = update(Search).where(Search.id == search_id, Search.lease_owner == owner)
        db.execute(held.values(lease_owner=None, lease_until=None))


def insert_search(
    db: Connection,
    spec: SearchSpec,
    *,
    scope: str,
    versions: Mapping[str, str],
    search_id: str | None = None,
) -> SearchRecord:
    """A new pending search, within the caller's transaction."""
    taken = set(db.scalars(select(Search.id)))
    chosen = search_id or random_name(taken)
    _check_new_id(chosen, taken)
    values = {
        "id": chosen,
        "name": spec.name,
        "status": SearchStatus.PENDING.value,
        "scope": scope,
        "base_model": spec.base_model,
        "seed": _checked_seed(spec.strategy.seed),
        "spec": json.dumps(spec.model_dump(mode="json"), separators=(",", ":")),
        "versions": json.dumps(dict(sorted(versions.items())), separators=(",", ":")),
    }
    db.execute(insert(Search).values(**values, created_at=now(), updated_at=now()))
    return require_search(db, chosen)


def check_lease(db: Connection, search_id: str, owner: str) -> None:
    """LeaseLostError unless `owner` holds the search; until the transaction ends nobody takes it.

    A lease that ran out but that nobody took is still its owner's: taking it changes the name.
    """
    held = _lock_search(db, search_id)
    if held.lease_owner != owner:
        holder = f"held by {held.lease_owner}" if held.lease_owner else "held by nobody"
        raise LeaseLostError(
            f"the lease of search {search_id} is {holder}, not by {owner}",
            remedy=f"go on with `evomerge resume {search_id}`",
        )


def find_search(db: Connection, wanted: str) -> str:
    """The id of the search that `wanted` means."""
    names: dict[str, str] = {row.id: row.name for row in db.execute(select(Search.id, Search.name))}
    if wanted in names:
        return wanted
    by_prefix = [key for key in names if wanted and key.startswith(wanted)]
    found = by_prefix or [key for key, name in names.items() if name == wanted]
    if len(found) == 1:
        return found[0]
    if found:
        listing = ", ".join(sorted(found))
        raise NotFoundError(f"{wanted!r} may be several searches", remedy=f"name one of {listing}")
    known = sorted({*names, *names.values()})
    remedy = (
        did_you_mean(wanted, known[:50]) if known else "the store is empty: `evomerge run FILE`"
    )
    raise NotFoundError(f"no search {wanted!r}", remedy=remedy)


def require_search(db: Connection, search_id: str) -> SearchRecord:
    """The search of that id; NotFoundError."""
    row = db.execute(select(*SEARCH_COLUMNS).where(Search.id == search_id)).one_or_none()
    if row is None:
        find_search(db, search_id)
        raise NotFoundError(f"no search {search_id!r}", remedy="see `evomerge list`")
    return search_of(row)


def _lock_search(db: Connection, search_id: str) -> Row[*tuple[Any, ...]]:
    """The row with `left`, the seconds that its lease still runs, locked until the transaction ends."""
    left = (Search.lease_until - now()).label("left")
    query = select(Search.lease_owner, left).where(Search.id == search_id)
    row = db.execute(query.with_for_update(key_share=True)).one_or_none()
    if row is None:
        raise NotFoundError(f"no search {search_id!r}", remedy="see `evomerge list`")
    return row


def search_of(row: Row[*tuple[Any, ...]]) -> SearchRecord:
    """A row with these columns, and perhaps others."""
    values = {column.key: row._mapping[column.key] for column in SEARCH_COLUMNS}
    parsed = {"status": SearchStatus(row.status), "spec": parse_spec(row)}
    return SearchRecord(**{**values, **parsed, "versions": json.loads(row.versions)})


def parse_spec(row: Row[*tuple[Any, ...]]) -> SearchSpec:
    """The file of a row with `id` and `spec`; StoreError where this version cannot read it."""
    try:
        return SearchSpec.model_validate_json(row.spec)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise StoreError(
            f"the stored file of search {row.id} cannot be read: {field}: {first['msg']}",
            remedy="use the version of evomerge that wrote it (`evomerge query versions`)",
        ) from error


def _check_new_id(search_id: str, taken: set[str]) -> None:
    if search_id in taken:
        raise StoreError(
            f"there is a search {search_id!r} already",
            remedy=f"name another id, or go on with it: `evomerge resume {search_id}`",
        )


def _checked_seed(seed: int) -> int:
    if not seed < 2**63:
        raise StoreError(f"seed {seed} is too big", remedy="write a seed below 2^63")
    return seed
