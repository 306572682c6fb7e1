"""Statements that may take so long and no longer."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from evomerge.errors import ResourceError, UsageError

_STEPS = 10_000
_CANCELLED = "57014"


@contextmanager
def time_limit(db: Connection, seconds: float | None) -> Iterator[None]:
    """Stop what runs in the block after so many seconds; None: never.

    Raises ResourceError where it was stopped, UsageError where a value does not fit its column's type.
    """
    if seconds is None:
        yield
        return
    deadline = time.monotonic() + seconds
    _begin(db, seconds, deadline)
    try:
        yield
    except DBAPIError as error:
        if _was_stopped(error):
            raise ResourceError(
                f"the question took longer than {seconds:g} s and was stopped",
                remedy="restrict it to one search, or ask the database itself",
            ) from error
        if _is_mistake(error):
            reason = str(error.orig).strip().split("\n")[0]
            raise UsageError(reason, where="parameters", remedy="see `evomerge query`") from error
        raise
    except OverflowError as error:
        raise UsageError(str(error), where="parameters", remedy="name a smaller number") from error
    finally:
        _end(db)


def _begin(db: Connection, seconds: float, deadline: float) -> None:
    if db.dialect.name == "postgresql":
        db.exec_driver_sql(f"SET LOCAL statement_timeout = {max(1, int(seconds * 1000))}")
    else:
        _driver(db).set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)


def _end(db: Connection) -> None:
    if db.dialect.name == "sqlite":
        _driver(db).set_progress_handler(None, _STEPS)


def _driver(db: Connection) -> Any:
    return db.connection.dbapi_connection


def _was_stopped(error: DBAPIError) -> bool:
    state = getattr(error.orig, "sqlstate", None)
    return state == _CANCELLED or getattr(error.orig, "sqlite_errorname", "") == "SQLITE_INTERRUPT"


def _is_mistake(error: DBAPIError) -> bool:
    """A value out of range, or of another type: class 22 of SQL's states, and SQLite's mismatch."""
    state = getattr(error.orig, "sqlstate", None) or ""
    name = getattr(error.orig, "sqlite_errorname", "")
    return state.startswith(("22", "42")) or name in {"SQLITE_MISMATCH", "SQLITE_TOOBIG"}
