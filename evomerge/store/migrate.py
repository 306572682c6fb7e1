"""Brings a database to this version's schema, by the Alembic scripts in `db/migrations`.

Each upgrade is one transaction on both databases, so that a kill leaves the old schema or the new
one. Only a brand new database is upgraded without being asked.
"""

import os

from sqlalchemy import Column, Connection, MetaData, String, Table, inspect, select, text

from evomerge.errors import StoreError
from evomerge.resources import resource_folder
from evomerge.store.connection import make_engine, resolve_url, shown
from evomerge.store.files import check_file
from evomerge.store.schema import REVISIONS, VERSION_TABLE
from evomerge.store.transactions import transact

_ADVISORY_LOCK = 7_310_579_226_001  # any constant: two processes must not create tables at once
_version = Table(VERSION_TABLE, MetaData(), Column("version_num", String(32)))


def upgrade(url: str | os.PathLike[str] | None = None, *, patience: float = 30.0) -> str:
    """Bring an existing or empty database to this version's schema. Returns the revision."""
    resolved = resolve_url(url)
    check_file(resolved, create=True, default=url is None)
    engine = make_engine(resolved, patience)
    try:
        return transact(
            engine,
            lambda db: migrate(db, shown(resolved)),
            writes=True,
            patience=patience,
            reconnect=False,
        )
    finally:
        engine.dispose()


def current_revision(url: str | os.PathLike[str] | None = None) -> str | None:
    """The schema's revision, and None for an empty database."""
    resolved = resolve_url(url)
    check_file(resolved, create=False, default=url is None)
    engine = make_engine(resolved, 30.0)
    try:
        return transact(engine, revision_of, writes=False, patience=30.0, reconnect=False)
    finally:
        engine.dispose()


def revision_of(db: Connection) -> str | None:
    """The schema's revision within a transaction; None for an empty database."""
    if not inspect(db).has_table(VERSION_TABLE):
        return None
    return db.scalar(select(_version.c.version_num)) or ""


def migrate(db: Connection, where: str) -> str:
    """Run what is missing, inside the caller's transaction. Nothing where nothing is missing."""
    if db.dialect.name == "postgresql":
        db.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
    revision = revision_of(db)
    if revision is None:
        _check_empty(db, where)
    else:
        check_not_newer(revision, where)
    if revision != REVISIONS[-1]:
        _run_alembic(db)
    return REVISIONS[-1]


def check_revision(revision: str | None, where: str) -> None:
    """StoreError unless the schema is this version's."""
    if revision is None:
        raise StoreError(
            "the database holds no evomerge store",
            where=where,
            remedy="`evomerge run` makes one, and so does `evomerge db upgrade`",
        )
    check_not_newer(revision, where)
    if revision != REVISIONS[-1]:
        raise StoreError(
            f"the database has schema {revision or 'none'}, this version needs {REVISIONS[-1]}",
            where=where,
            remedy="make a backup, then `evomerge db upgrade`",
        )


def check_not_newer(revision: str, where: str) -> None:
    """StoreError where a newer version made the database."""
    if revision and revision not in REVISIONS:
        raise StoreError(
            f"the database is newer than this version of evomerge (schema {revision})",
            where=where,
            remedy="update: pip install --upgrade evomerge",
        )


def _check_empty(db: Connection, where: str) -> None:
    others = inspect(db).get_table_names()
    if others:
        raise StoreError(
            f"the database holds other tables ({', '.join(sorted(others)[:5])})",
            where=where,
            remedy="name a new file, or an empty database or schema",
        )


def _run_alembic(db: Connection) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option(
        "script_location", str(resource_folder("db") / "migrations").replace("%", "%%")
    )
    config.attributes.update(connection=db, version_table=VERSION_TABLE)
    command.upgrade(config, "head")
