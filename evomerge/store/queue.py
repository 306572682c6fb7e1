"""The queue of searches that servers run: one row a search, changed by compare and set.

`schedule` is the heart: it hands everything that a decision depends on to a pure function and carries
out what that decides, in one transaction that no other server's can overlap. So two servers on one
store never start the same search, and never share out the same worker twice.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Connection, Row, and_, func, insert, or_, select, text, update

from evomerge.errors import LimitError, NotFoundError, UsageError
from evomerge.limits import Limits
from evomerge.spec import SearchSpec
from evomerge.store.access import Decision, OwnerLimits, Place, QueueEntry, QueueState
from evomerge.store.columns import now
from evomerge.store.holder import is_gone
from evomerge.store.owners import add_owner, owner_record
from evomerge.store.schema import Evaluation, Limit, Owner, Queued, Search
from evomerge.store.searches import insert_search, require_search
from evomerge.store.transactions import Transactions, reads, writes
from evomerge.store.types import SearchRecord, SearchStatus

_ADVISORY_LOCK = 7_310_579_226_002  # any constant besides that of migrations
_ENDED = (SearchStatus.FINISHED.value, SearchStatus.CANCELLED.value)
_STOPPED = (SearchStatus.PAUSED.value, SearchStatus.FAILED.value)
_ORPHANED = (SearchStatus.RUNNING.value, SearchStatus.PAUSING.value, SearchStatus.CANCELLING.value)


class Queue(Transactions):
    """What the servers on this store run."""

    @writes
    def enqueue(
        self,
        db: Connection,
        spec: SearchSpec,
        *,
        scope: str,
        versions: dict[str, str],
        owner: str,
        priority: int = 0,
        key: str | None = None,
        fingerprint: str | None = None,
    ) -> tuple[SearchRecord, bool]:
        """Write a search down and queue it; whether it is new.

        With `key`, a request that is sent twice makes one search: the second gets the first one's.
        LimitError where the owner's limits are reached, UsageError where the key stood for another
        request (another `fingerprint`).
        """
        lock_queue(db)
        add_owner(db, owner)
        earlier = _by_key(db, owner, key, fingerprint)
        if earlier is not None:
            return earlier, False
        _check_limits(db, owner, spec.budget.candidates)
        search = insert_search(db, spec, scope=scope, versions=versions)
        values = {"search_id": search.id, "owner": owner, "priority": priority, "wanted": True}
        values |= {"failures": 0, "progress": 0, "idempotency_key": key}
        values["fingerprint"] = fingerprint if key is not None else None
        db.execute(insert(Queued).values(**values, submitted_at=now()))
        return search, True

    @reads
    def submitted_before(
        self, db: Connection, owner: str, key: str, fingerprint: str
    ) -> SearchRecord | None:
        """The search that a request with this key made; UsageError as `enqueue`."""
        return _by_key(db, owner, key, fingerprint)

    @reads
    def place(self, db: Connection, search_id: str) -> Place | None:
        """A search's place in the queue; None for one that no server runs."""
        row = db.execute(select(Queued.__table__).where(Queued.search_id == search_id)).first()
        return None if row is None else _place(row)

    @reads
    def places(self, db: Connection, search_ids: Sequence[str]) -> dict[str, Place]:
        """The places of several searches, of those that have one."""
        query = select(Queued.__table__).where(Queued.search_id.in_(search_ids))
        return {row.search_id: _place(row) for row in db.execute(query)}

    @reads
    def owner_of(self, db: Connection, search_id: str) -> str | None:
        """Whose search it is; None for one that was not submitted to a server."""
        return db.scalar(select(Queued.owner).where(Queued.search_id == search_id))

    @writes
    def set_wanted(self, db: Connection, search_id: str, wanted: bool) -> bool:
        """Whether servers shall run a search; False where it is in no queue.

        A wanted one starts anew: failures of its controller are forgotten.
        """
        fresh: dict[str, Any] = {"failures": 0, "retry_at": None} if wanted else {}
        query = update(Queued).where(Queued.search_id == search_id)
        return db.execute(query.values(wanted=wanted, **fresh)).rowcount == 1

    @writes
    def adopt(self, db: Connection, search_id: str, owner: str) -> None:
        """Queue a search that was started without a server; nothing happens where it has a place."""
        lock_queue(db)
        require_search(db, search_id)
        if db.scalar(select(Queued.owner).where(Queued.search_id == search_id)) is None:
            add_owner(db, owner)
            values = {"search_id": search_id, "owner": owner, "priority": 0, "wanted": True}
            db.execute(insert(Queued).values(**values, failures=0, progress=0, submitted_at=now()))

    @reads
    def open_searches(self, db: Connection, owner: str) -> int:
        """How many searches of an owner wait or run."""
        return len(_open_budgets(db, owner))

    @writes
    def set_priority(self, db: Connection, search_id: str, priority: int) -> None:
        """Its place among the searches of the same owner; NotFoundError where it is in no queue."""
        query = update(Queued).where(Queued.search_id == search_id)
        if db.execute(query.values(priority=priority)).rowcount != 1:
            raise NotFoundError(
                f"search {search_id} is in no queue", remedy="it was started without a server"
            )

    @reads
    def queue_state(self, db: Connection) -> QueueState:
        """What the scheduler would decide by now."""
        return _state(db)

    @writes
    def schedule(
        self,
        db: Connection,
        server: str,
        seconds: float,
        decide: Callable[[QueueState], Decision],
    ) -> Decision:
        """Decide and carry out, as the only server at that moment; returns what was decided.

        Args:
            server: from `make_owner()`. seconds: how long a claim holds unless it is renewed.
            decide: a pure function; may be called again where the transaction has to be repeated.
        """
        lock_queue(db)
        decision = decide(_state(db))
        for search_id in decision.claims:
            _claim(db, search_id, server, seconds)
        for search_id, workers in decision.workers.items():
            queued = update(Queued).where(Queued.search_id == search_id)
            db.execute(queued.values(workers=workers))
        for owner, used in decision.used.items():
            db.execute(update(Owner).where(Owner.name == owner).values(used=used, used_at=now()))
        for search_id, status in decision.settled.items():
            _settle(db, search_id, status)
        for search_id in decision.dismissed:
            queued = update(Queued).where(Queued.search_id == search_id)
            db.execute(queued.values(wanted=False))
        return decision

    @writes
    def renew_claims(
        self, db: Connection, server: str, search_ids: Iterable[str], seconds: float
    ) -> set[str]:
        """Keep the claims on searches; returns those that are still this server's."""
        kept = set()
        for search_id in search_ids:
            own = and_(Queued.search_id == search_id, Queued.claimed_by == server)
            query = update(Queued).where(own).values(claimed_until=now() + float(seconds))
            if db.execute(query).rowcount == 1:
                kept.add(search_id)
        return kept

    @writes
    def release_claim(
        self,
        db: Connection,
        server: str,
        search_id: str,
        *,
        failed: bool = False,
        pause: Callable[[int], float] | None = None,
    ) -> int:
        """Give a search back; returns its failures in a row.

        It stays in the queue where its status says that it may be started: what its user wished while
        it ended is not overruled.

        Args:
            failed: its controller died. Failures count while nothing ends between them.
            pause: from the number of failures to the seconds until it may be started again.
        """
        own = and_(Queued.search_id == search_id, Queued.claimed_by == server)
        row = db.execute(select(Queued.__table__).where(own)).first()
        if row is None:
            return 0
        ended = _ended(db, search_id)
        failures = (row.failures + 1 if ended <= row.progress else 1) if failed else 0
        wait = pause(failures) if pause is not None and failed else None
        values = {
            "claimed_by": None,
            "claimed_until": None,
            "wanted": row.wanted and _startable(db, search_id),
            "failures": failures,
            "progress": ended,
            "workers": None,
            "retry_at": None if wait is None else now() + float(wait),
        }
        db.execute(update(Queued).where(own).values(**values))
        return failures


def lock_queue(db: Connection) -> None:
    """Until the transaction ends no other server decides. SQLite has one writer anyway."""
    if db.dialect.name == "postgresql":
        db.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})


def _by_key(
    db: Connection, owner: str, key: str | None, fingerprint: str | None
) -> SearchRecord | None:
    if key is None:
        return None
    query = select(Queued.search_id, Queued.fingerprint).where(
        Queued.owner == owner, Queued.idempotency_key == key
    )
    row = db.execute(query).first()
    if row is None:
        return None
    if row.fingerprint != fingerprint:
        raise UsageError(
            f"the key stood for another request, which made search {row.search_id}",
            where="Idempotency-Key",
            remedy="take a new key for each search",
        )
    return require_search(db, row.search_id)


def _check_limits(db: Connection, owner: str, candidates: int) -> None:
    limits = owner_record(
        db.execute(select(Owner.__table__).where(Owner.name == owner)).one()
    ).limits
    if limits.queued is None and limits.candidates is None:
        return
    check_limits(limits, owner, _open_budgets(db, owner), candidates)


def _open_budgets(db: Connection, owner: str) -> list[int]:
    query = (
        select(Search.spec, Limit.limits)
        .join(Queued, Queued.search_id == Search.id)
        .outerjoin(Limit, Limit.search_id == Search.id)
        .where(Queued.owner == owner, Queued.wanted.is_(True), Search.status.not_in(_ENDED))
    )
    return [_budget(row) for row in db.execute(query)]


def check_limits(
    limits: OwnerLimits, owner: str, open_budgets: Sequence[int], candidates: int
) -> None:
    """LimitError where one more search of so many candidates is beyond an owner's limits."""
    if limits.queued is not None and len(open_budgets) >= limits.queued:
        raise LimitError(
            f"{owner} has {len(open_budgets)} searches waiting or running, the most allowed",
            where="limits.queued",
            remedy="wait, cancel one, or ask an admin for more",
        )
    total = sum(open_budgets) + candidates
    if limits.candidates is not None and total > limits.candidates:
        raise LimitError(
            f"{owner} would have {total} candidates in open searches, {limits.candidates} are allowed",
            where="limits.candidates",
            remedy="ask for a smaller budget, or wait until others end",
        )


def _budget(row: Row[*tuple[Any, ...]]) -> int:
    spec = SearchSpec.model_validate_json(row.spec)
    return _limits(row.limits).budget_of(spec).candidates


@lru_cache(maxsize=10_000)
def _workers_in(spec: str) -> int:
    """How many workers a search's file asks for. Files do not change, and are looked at every second."""
    return SearchSpec.model_validate_json(spec).workers.max


def _limits(stored: str | None) -> Limits:
    return Limits.model_validate_json(stored) if stored else Limits()


def _state(db: Connection) -> QueueState:
    """Searches that are wanted, and those that a controller left or still works on."""
    clock = float(db.execute(select(now())).scalar_one())
    query = (
        select(
            Queued.__table__,
            Search.status,
            Search.spec,
            Search.lease_owner,
            Search.lease_until,
            Limit.limits,
        )
        .join(Search, Search.id == Queued.search_id)
        .outerjoin(Limit, Limit.search_id == Search.id)
        .where(Search.status.not_in(_ENDED))
        .where(or_(Queued.wanted.is_(True), Search.status.in_(_ORPHANED), Queued.workers > 0))
        .order_by(Queued.submitted_at, Queued.search_id)
    )
    entries = tuple(_entry(row, clock) for row in db.execute(query))
    owners = {row.name: owner_record(row) for row in db.execute(select(Owner.__table__))}
    return QueueState(clock, entries, owners)


def _entry(row: Row[*tuple[Any, ...]], clock: float) -> QueueEntry:
    return QueueEntry(
        search_id=row.search_id,
        owner=row.owner,
        priority=row.priority,
        wanted=row.wanted,
        status=SearchStatus(row.status),
        submitted_at=row.submitted_at.timestamp(),
        claimed_by=row.claimed_by,
        claimed=_holds(row.claimed_by, row.claimed_until, clock),
        led=_holds(row.lease_owner, row.lease_until, clock),
        failures=row.failures,
        retry_at=row.retry_at,
        workers=row.workers,
        asked=_limits(row.limits).workers or _workers_in(row.spec),
    )


def _holds(owner: str | None, until: float | None, clock: float) -> bool:
    """As for leases: until it runs out, or its holder was a process of this machine that is gone."""
    return owner is not None and until is not None and until > clock and not is_gone(owner)


def _claim(db: Connection, search_id: str, server: str, seconds: float) -> None:
    values = {"claimed_by": server, "claimed_until": now() + float(seconds), "started_at": now()}
    db.execute(update(Queued).where(Queued.search_id == search_id).values(**values))


def _settle(db: Connection, search_id: str, status: SearchStatus) -> None:
    values = {"status": status.value, "updated_at": now()}
    db.execute(update(Search).where(Search.id == search_id).values(**values))
    db.execute(update(Queued).where(Queued.search_id == search_id).values(wanted=False))


def _startable(db: Connection, search_id: str) -> bool:
    status = db.scalar(select(Search.status).where(Search.id == search_id))
    return status not in (*_ENDED, *_STOPPED)


def _ended(db: Connection, search_id: str) -> int:
    ended = select(func.count()).where(
        Evaluation.search_id == search_id, Evaluation.status.in_(("scored", "failed"))
    )
    return int(db.scalar(ended) or 0)


def _place(row: Row[*tuple[Any, ...]]) -> Place:
    return Place(
        search_id=row.search_id,
        owner=row.owner,
        priority=row.priority,
        wanted=row.wanted,
        submitted_at=row.submitted_at,
        started_at=row.started_at,
        claimed_by=row.claimed_by,
        failures=row.failures,
        retry_at=row.retry_at,
        workers=row.workers,
    )
