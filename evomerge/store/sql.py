"""`SQLStore`: the store over SQLite and PostgreSQL. `open_store` opens or makes one.

Which database differs in `connection` alone: how transactions begin and what its errors mean.
"""

import os
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.engine import URL

from evomerge.errors import StoreError
from evomerge.store.attempts import Attempts
from evomerge.store.candidates import Candidates
from evomerge.store.connection import make_engine, resolve_url, shown, transact
from evomerge.store.evaluations import Evaluations
from evomerge.store.migrate import check_revision, migrate, revision_of
from evomerge.store.questions import Questions
from evomerge.store.searches import Searches

PATIENCE = 30.0
"""Seconds that a transaction waits for others, or for a server that is away, before it gives up."""


class SQLStore(Searches, Candidates, Evaluations, Attempts, Questions):
    """A store in SQLite or PostgreSQL. May be shared by threads; a forked process opens its own."""

    @property
    def url(self) -> str:
        """What another process opens this store by; holds the password where there is one."""
        return self._engine.url.render_as_string(hide_password=False)

    @property
    def folder(self) -> Path | None:
        """Where the file lies; None for a server."""
        database = self._engine.url.database
        is_file = self._engine.url.get_backend_name() == "sqlite"
        return Path(str(database)).parent if is_file else None


def open_store(
    url: str | os.PathLike[str] | None = None, *, create: bool = True, patience: float = PATIENCE
) -> SQLStore:
    """Open a store; an empty or missing database becomes one where `create` says so.

    Args:
        url: a file name, sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME. None: the
            environment's EVOMERGE_STORE, else `evomerge.db` in the user's data folder.
        patience: seconds to wait for other processes.

    Raises StoreError: not there, not readable, locked, of another version, not a database.
    """
    resolved = resolve_url(url)
    is_file = resolved.get_backend_name() == "sqlite"
    if is_file:
        _check_file(resolved, create, default=url is None)
    engine = make_engine(resolved, patience)
    try:
        _check_schema(engine, shown(resolved), create, patience)
        if is_file:
            _use_wal(engine)
    except BaseException:
        engine.dispose()
        raise
    return SQLStore(engine, patience)


def _check_schema(engine: Engine, where: str, create: bool, patience: float) -> None:
    # A server that is not there at all is reported at once; a busy one is waited for.
    revision = transact(engine, revision_of, writes=False, patience=0.0)
    if revision is None and create:
        revision = transact(engine, lambda db: migrate(db, where), writes=True, patience=patience)
    check_revision(revision, where)


def _check_file(url: URL, create: bool, *, default: bool) -> None:
    if url.query:
        return  # SQLite's own URI, which may mean anything
    path = Path(str(url.database))
    if default and create:
        _make_folder(path.parent)
    if path.is_dir():
        raise StoreError("this is a folder", where=str(path), remedy="name a file in it")
    if not path.parent.is_dir():
        remedy = f"make it: mkdir -p {path.parent}"
        raise StoreError(f"the folder {path.parent} does not exist", where=str(path), remedy=remedy)
    if not path.exists() and not create:
        remedy = "check the path; `evomerge run` makes a store"
        raise StoreError("there is no store", where=str(path), remedy=remedy)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"the folder cannot be made: {error.strerror}",
            where=str(folder),
            remedy="set EVOMERGE_STORE to a file elsewhere",
        ) from error


def _use_wal(engine: Engine) -> None:
    """Readers and the writer do not wait for each other. The file remembers; copies may not."""
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            cursor.execute("PRAGMA journal_mode = WAL")
    finally:
        connection.close()
