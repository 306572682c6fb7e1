"""From a URL to a database: engines, pragmas, and transactions that try again where that is safe."""

import os
import random
import sqlite3
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from evomerge.errors import StoreError
from evomerge.resources import data_folder
from evomerge.store import failures

ENVIRONMENT_VARIABLE = "EVOMERGE_STORE"
FILE_NAME = "evomerge.db"

T = TypeVar("T")
P = ParamSpec("P")


def resolve_url(url: str | os.PathLike[str] | None = None) -> URL:
    """The database that `url`, else EVOMERGE_STORE, else the default names. Paths are accepted."""
    given = os.fspath(url) if url is not None else os.environ.get(ENVIRONMENT_VARIABLE) or None
    if given is None:
        return URL.create("sqlite", database=str(data_folder() / FILE_NAME))
    if "://" not in given:
        return URL.create("sqlite", database=str(Path(given).expanduser().absolute()))
    try:
        return _with_driver(make_url(given))
    except (ArgumentError, ValueError) as error:
        raise StoreError(
            f"cannot read the database URL {given!r}", remedy=f"write {EXAMPLES}"
        ) from error


EXAMPLES = "a file name, sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME"


def _with_driver(url: URL) -> URL:
    kind = url.get_backend_name()
    if kind == "sqlite":
        if url.database in (None, "", ":memory:"):
            raise StoreError("a store in memory is lost with its process", remedy="name a file")
        return url
    if kind in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+psycopg")
    raise StoreError(f"{kind} is not supported", where=shown(url), remedy=f"write {EXAMPLES}")


def shown(url: URL) -> str:
    """The URL for people: a path for SQLite, no password."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(drivername="postgresql").render_as_string(hide_password=True)


def make_engine(url: URL, patience: float) -> Engine:
    """An engine whose transactions begin as `transact` expects. Connects to nothing yet."""
    try:
        if url.get_backend_name() == "sqlite":
            return _sqlite_engine(url, patience)
        return _postgres_engine(url, patience)
    except (ModuleNotFoundError, NoSuchModuleError, ImportError) as error:
        raise StoreError(
            "the driver for PostgreSQL is not installed",
            where=shown(url),
            remedy="pip install 'evomerge[postgres]'",
        ) from error


def _sqlite_engine(url: URL, patience: float) -> Engine:
    engine = create_engine(url, connect_args={"timeout": patience}, max_overflow=-1)

    @event.listens_for(engine, "connect")
    def _prepare(connection: sqlite3.Connection, _record: Any) -> None:
        connection.isolation_level = None  # sqlite3 would begin transactions of its own
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute("PRAGMA synchronous = FULL")

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writes = connection.get_execution_options().get("writes", True)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgres_engine(url: URL, patience: float) -> Engine:
    query = {"connect_timeout": "10", "application_name": "evomerge", **url.query}
    engine = create_engine(url.set(query=query), pool_pre_ping=True, pool_timeout=60)
    milliseconds = max(1, int(patience * 1000))

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A stopped process must not hold up the others for ever.
        connection.exec_driver_sql(
            f"SET LOCAL lock_timeout = {milliseconds};"
            f"SET LOCAL idle_in_transaction_session_timeout = {max(60_000, 2 * milliseconds)}"
        )

    return engine


def transact(
    engine: Engine, work: Callable[[Connection], T], *, writes: bool, patience: float
) -> T:
    """Run `work` in one transaction; once more where it was certainly undone, for `patience` s."""
    deadline = time.monotonic() + patience
    pause = 0.005
    while True:
        try:
            return _once(engine, work, writes)
        except DBAPIError as error:
            if not _worth_another_try(error) or time.monotonic() > deadline:
                raise failures.store_error(error, shown(engine.url)) from error
        except PoolTimeout as error:
            raise StoreError(
                "too many threads use the store at once",
                where=shown(engine.url),
                remedy="use fewer threads in this process",
            ) from error
        time.sleep(random.SystemRandom().uniform(0, pause))
        pause = min(2 * pause, 1.0)


def _worth_another_try(error: DBAPIError) -> bool:
    """A connection lost while it commits may have committed: nobody knows, so no second try."""
    if failures.is_contention(error):
        return True
    return failures.is_lost_connection(error) and not getattr(error, "while_committing", False)


def _once(engine: Engine, work: Callable[[Connection], T], writes: bool) -> T:
    with engine.connect() as plain:
        db = plain.execution_options(**_options(engine, writes))
        transaction = db.begin()
        try:
            result = work(db)
        except BaseException:
            transaction.rollback()
            raise
        _commit(transaction.commit)
        return result


def _commit(commit: Callable[[], None]) -> None:
    try:
        commit()
    except DBAPIError as error:
        error.while_committing = True  # type: ignore[attr-defined]
        raise


def _options(engine: Engine, writes: bool) -> dict[str, Any]:
    """Readers see one snapshot on both databases."""
    if engine.dialect.name == "sqlite" or writes:
        return {"writes": writes}
    return {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}


class Transactions:
    """Base of everything that talks to one database."""

    def __init__(self, engine: Engine, patience: float) -> None:
        self._engine = engine
        self._patience = patience

    @property
    def url(self) -> str:
        """Opens the same database elsewhere; contains the password, if there is one."""
        return self._engine.url.render_as_string(hide_password=False)

    def close(self) -> None:
        """Give the connections back."""
        self._engine.dispose()


S = TypeVar("S", bound=Transactions)


def reads(method: Callable[Concatenate[S, Connection, P], T]) -> Callable[Concatenate[S, P], T]:
    """Run a method in a transaction that sees one moment and changes nothing."""
    return _in_transaction(method, writes=False)


def writes(method: Callable[Concatenate[S, Connection, P], T]) -> Callable[Concatenate[S, P], T]:
    """Run a method in a transaction that happens wholly or not at all."""
    return _in_transaction(method, writes=True)


def _in_transaction(
    method: Callable[Concatenate[S, Connection, P], T], *, writes: bool
) -> Callable[Concatenate[S, P], T]:
    @wraps(method)
    def run(self: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return transact(
            self._engine,
            lambda db: method(self, db, *args, **kwargs),
            writes=writes,
            patience=self._patience,
        )

    return run
