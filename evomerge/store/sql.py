"""`SQLStore`: the store over SQLite and PostgreSQL. `open_store` opens or makes one.

Which database differs in `connection` alone: how transactions begin and what its errors mean.
"""

import os
from pathlib import Path

from sqlalchemy import Engine

from evomerge.store.activity import Activity
from evomerge.store.archives import Archives
from evomerge.store.attempts import Attempts
from evomerge.store.candidates import Candidates
from evomerge.store.connection import make_engine, resolve_url, shown
from evomerge.store.course import Courses
from evomerge.store.evaluations import Evaluations
from evomerge.store.exports import Exports
from evomerge.store.files import check_file, use_wal
from evomerge.store.journal import Journal
from evomerge.store.labour import Labour
from evomerge.store.listing import Listings
from evomerge.store.migrate import check_revision, migrate, revision_of
from evomerge.store.owners import Owners
from evomerge.store.progress import ProgressReader
from evomerge.store.questions import Questions
from evomerge.store.queue import Queue
from evomerge.store.searches import Searches
from evomerge.store.tokens import Tokens
from evomerge.store.transactions import transact

PATIENCE = 30.0
"""Seconds that a transaction waits for others, or for a server that is away, before it gives up."""


class SQLStore(
    Searches,
    Candidates,
    Evaluations,
    Attempts,
    ProgressReader,
    Questions,
    Activity,
    Archives,
    Owners,
    Tokens,
    Queue,
    Journal,
    Exports,
    Listings,
    Courses,
    Labour,
):
    """A store in SQLite or PostgreSQL. May be shared by threads; a forked process opens its own."""

    @property
    def url(self) -> str:
        """What another process opens this store by; holds the password where there is one."""
        return self._engine.url.render_as_string(hide_password=False)

    @property
    def folder(self) -> Path | None:
        """Where the file lies; None for a server."""
        return store_folder(self.url)


def store_folder(url: str | os.PathLike[str] | None = None) -> Path | None:
    """The folder that holds the store's file, whether it exists or not; None for a server."""
    resolved = resolve_url(url)
    return Path(str(resolved.database)).parent if resolved.get_backend_name() == "sqlite" else None


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
    check_file(resolved, create=create, default=url is None)
    engine = make_engine(resolved, patience)
    try:
        _check_schema(engine, shown(resolved), create, patience)
        use_wal(engine)
    except BaseException:
        engine.dispose()
        raise
    return SQLStore(engine, patience)


def _check_schema(engine: Engine, where: str, create: bool, patience: float) -> None:
    # A server that is not there at all is reported at once; a busy one is waited for.
    revision = transact(engine, revision_of, writes=False, patience=patience, reconnect=False)
    if revision is None and create:
        revision = transact(engine, lambda db: migrate(db, where), writes=True, patience=patience)
    check_revision(revision, where)
