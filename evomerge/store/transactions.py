"""Transactions: all or nothing, and again where that is safe. `reads` and `writes` mark methods."""

import random
import time
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from evomerge.errors import StoreError
from evomerge.store import failures
from evomerge.store.connection import shown

T = TypeVar("T")
P = ParamSpec("P")


def transact(
    engine: Engine,
    work: Callable[[Connection], T],
    *,
    writes: bool,
    patience: float,
    reconnect: bool = True,
) -> T:
    """Run `work` in one transaction; again where it was certainly undone, for `patience` seconds.

    Args:
        reconnect: whether to wait for a server that is away, too.
    """
    deadline = time.monotonic() + patience
    pause = 0.005
    while True:
        try:
            return _once(engine, work, writes)
        except UnicodeEncodeError as error:
            raise failures.text_error() from error
        except DBAPIError as error:
            if failures.is_text(error):
                raise failures.text_error() from error
            if not _worth_another_try(error, reconnect) or time.monotonic() > deadline:
                raise failures.store_error(error, shown(engine.url)) from error
        except PoolTimeout as error:
            raise StoreError(
                "too many threads use the store at once",
                where=shown(engine.url),
                remedy="use fewer threads in this process",
            ) from error
        time.sleep(random.SystemRandom().uniform(0, pause))
        pause = min(2 * pause, 1.0)


def _worth_another_try(error: DBAPIError, reconnect: bool) -> bool:
    """A connection lost while it commits may have committed: nobody knows, so no second try."""
    if failures.is_contention(error):
        return True
    lost = reconnect and failures.is_lost_connection(error)
    return lost and not getattr(error, "while_committing", False)


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
