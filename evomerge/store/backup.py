"""Backups while searches run: SQLite's online backup, PostgreSQL's own tools.

A backup is one file and one moment of the database, whatever is written meanwhile. It is restored into
an empty place only: nothing that is there is ever overwritten.
"""

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from sqlalchemy.engine import URL

from evomerge.errors import ResourceError, StoreError
from evomerge.store.connection import resolve_url, shown
from evomerge.store.migrate import current_revision

_PAGES = 2000
_PAUSE = 0.01


def backup(url: str | os.PathLike[str] | None, file: Path) -> None:
    """Write a backup of a store to a new file.

    Raises ResourceError where the file exists or a tool is missing, StoreError where the store cannot
    be read.
    """
    if file.exists():
        raise ResourceError("exists already", where=str(file), remedy="name a new file")
    resolved = resolve_url(url)
    current_revision(url)
    draft = file.with_name(f"{file.name}.draft")
    try:
        if resolved.get_backend_name() == "sqlite":
            _copy_sqlite(Path(str(resolved.database)), draft)
        else:
            _run("pg_dump", ["--format=custom", f"--file={draft}"], resolved)
        _flush(draft)
        draft.rename(file)
    finally:
        draft.unlink(missing_ok=True)


def restore(file: Path, url: str | os.PathLike[str] | None) -> None:
    """Make a store from a backup; the place must be empty. Upgrade it afterwards if it is older."""
    if not file.is_file():
        raise ResourceError("no such file", where=str(file), remedy="check the path")
    resolved = resolve_url(url)
    if resolved.get_backend_name() == "sqlite":
        target = Path(str(resolved.database))
        if target.exists():
            raise ResourceError("exists already", where=str(target), remedy="name a new file")
        draft = target.with_name(f"{target.name}.draft")
        try:
            _copy_sqlite(file, draft)
            draft.rename(target)
        finally:
            draft.unlink(missing_ok=True)
        return
    if current_revision(url) is not None:
        raise StoreError(
            "the database holds a store already",
            where=shown(resolved),
            remedy="name an empty database: `createdb NAME`",
        )
    arguments = ["--single-transaction", "--exit-on-error", "--no-owner", str(file)]
    _run("pg_restore", arguments, resolved)


def _copy_sqlite(source: Path, target: Path) -> None:
    """One moment of a database that others may write to, checked page by page."""
    try:
        with (
            closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as reader,
            closing(sqlite3.connect(target)) as writer,
        ):
            reader.backup(writer, pages=_PAGES, sleep=_PAUSE)
            (verdict,) = writer.execute("PRAGMA integrity_check").fetchone()
    except sqlite3.Error as error:
        raise StoreError(
            f"cannot be copied: {error}", where=str(source), remedy="check file and disk"
        ) from error
    if verdict != "ok":
        raise StoreError(
            f"the copy is damaged: {verdict}",
            where=str(source),
            remedy="check the disk; try `sqlite3 FILE .recover`",
        )


def _run(tool: str, arguments: Sequence[str], url: URL) -> None:
    """Run a tool of PostgreSQL's; the password goes by its environment, where others cannot see it."""
    path = shutil.which(tool)
    if path is None:
        raise ResourceError(
            f"{tool} is not installed",
            where="PATH",
            remedy="apt-get install postgresql-client, of the server's version or newer",
        )
    plain = url.set(drivername="postgresql", password=None)
    secret = {"PGPASSWORD": str(url.password)} if url.password else {}
    done = subprocess.run(
        [path, f"--dbname={plain.render_as_string(hide_password=False)}", *arguments],
        env={**os.environ, **secret},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        lines = done.stderr.strip().splitlines() or ["no word"]
        raise StoreError(
            f"{tool}: {lines[-1]}",
            where=shown(url),
            remedy="see its message; the tool must be as new as the server",
        )


def _flush(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
