"""The SQLite file: whether one can be there, and its journal mode."""

import sqlite3
import time
from itertools import count
from pathlib import Path

from sqlalchemy import Engine
from sqlalchemy.engine import URL

from evomerge.errors import StoreError

_WAL_ATTEMPTS = 200


def check_file(url: URL, *, create: bool, default: bool) -> None:
    """StoreError where no database can be at `url`. The default's folder is made."""
    if url.get_backend_name() != "sqlite" or url.query:
        return  # a server, or SQLite's own URI, which may mean anything
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


def use_wal(engine: Engine) -> None:
    """Readers and the writer do not wait for each other. The file remembers; copies may not."""
    if engine.dialect.name != "sqlite":
        return
    connection = engine.raw_connection()
    try:
        cursor = connection.cursor()
        for attempt in count():
            try:
                if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                    cursor.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError:
                # SQLite does not wait here, however patient the connection is.
                if attempt == _WAL_ATTEMPTS:
                    raise
                time.sleep(0.05)
    finally:
        connection.close()
