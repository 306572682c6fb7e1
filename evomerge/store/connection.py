"""From a URL to an engine: which database, which driver, and how its transactions begin."""

import os
import sqlite3
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from evomerge.errors import StoreError
from evomerge.resources import data_folder

ENVIRONMENT_VARIABLE = "EVOMERGE_STORE"
FILE_NAME = "evomerge.db"
_NETWORK = {
    "connect_timeout": "10",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "30000",
}
"""libpq's own patience with a network that swallows packets is two hours; here it is half a minute."""


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
        connection.exec_driver_sql(f"PRAGMA query_only = {'OFF' if writes else 'ON'}")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _postgres_engine(url: URL, patience: float) -> Engine:
    query = {**_NETWORK, "application_name": "evomerge", **url.query}
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
