"""Keeps a search's lease alive while its controller works."""

import threading

from evomerge.errors import EvomergeError, LeaseLostError
from evomerge.store.api import Store

LEASE_SECONDS = 30.0
_RENEW_SECONDS = 5.0


class LeaseKeeper:
    """A context in which a background thread renews the lease.

    A renewal that fails is tried again until the lease has run out: a database that is restarted
    does not end a search.
    """

    def __init__(self, store: Store, search_id: str, owner: str) -> None:
        self._store, self._search_id, self._owner = store, search_id, owner
        self._done = threading.Event()
        self._lost: LeaseLostError | None = None
        self._thread = threading.Thread(target=self._renew, name="evomerge-lease", daemon=True)

    def __enter__(self) -> "LeaseKeeper":
        self._store.acquire_lease(self._search_id, self._owner, LEASE_SECONDS)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        if self._lost is None:
            self._store.release_lease(self._search_id, self._owner)

    def check(self) -> None:
        """Raise LeaseLostError if another controller has taken the search."""
        if self._lost is not None:
            raise self._lost

    def _renew(self) -> None:
        while not self._done.wait(_RENEW_SECONDS):
            try:
                self._store.renew_lease(self._search_id, self._owner, LEASE_SECONDS)
            except LeaseLostError as error:
                self._lost = error
                return
            except EvomergeError:
                continue
