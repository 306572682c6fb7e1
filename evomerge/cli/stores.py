"""Opening the store for a command, and closing it whatever happens."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from evomerge.errors import StoreError
from evomerge.store import SQLStore, open_store
from evomerge.store.connection import resolve_url


@contextmanager
def store_at(url: str | None, *, create: bool = False) -> Iterator[SQLStore]:
    """The store that a command works on; only commands that start searches make one."""
    _check_default(url, create)
    store = open_store(url, create=create)
    try:
        yield store
    finally:
        store.close()


def _check_default(url: str | None, create: bool) -> None:
    """On a new machine there is nothing to read yet: say so, not that a folder is missing."""
    resolved = resolve_url(url)
    if url is not None or create or resolved.get_backend_name() != "sqlite":
        return
    if not Path(str(resolved.database)).exists():
        raise StoreError(
            "there is no store yet",
            where=str(resolved.database),
            remedy="`evomerge run FILE` makes one; --store or EVOMERGE_STORE names another",
        )
