"""What users want of a search that runs: pause, cancel, other limits. Looked up once a second."""

from time import monotonic

from evomerge.controller.lease import LeaseKeeper
from evomerge.limits import Limits
from evomerge.store.api import Store
from evomerge.store.types import SearchRecord, SearchStatus

_POLL_SECONDS = 1.0


class StopRequested(Exception):
    """The user paused or cancelled; carries the status that the search now takes."""

    def __init__(self, status: SearchStatus) -> None:
        super().__init__(status)
        self.status = status


class Wishes:
    """The store's newest word about one search."""

    def __init__(self, store: Store, search: SearchRecord, lease: LeaseKeeper) -> None:
        self._store, self._search, self._lease = store, search, lease
        self._due = 0.0
        self.wants_pause = False
        """As it was at the last look."""
        self.limits: Limits = store.limits(search.id)
        self._share: int | None = None

    @property
    def workers(self) -> int | None:
        """How many workers may work now; None: as many as the search's file says.

        A server's share says how soon a search ends and never what it finds: budgets do not look at it.
        """
        if self._share is None:
            return self.limits.workers
        return min(self.limits.workers_of(self._search.spec), self._share)

    def pausing(self, running: bool) -> bool:
        """Whether to start nothing more; raises StopRequested when it is time to leave.

        A pause lets what is `running` finish, a cancellation does not. Raises LeaseLostError where
        another controller took over.
        """
        self._lease.check()
        if monotonic() >= self._due:
            self._look()
        if self.wants_pause and not running:
            raise StopRequested(SearchStatus.PAUSED)
        return self.wants_pause

    def _look(self) -> None:
        wanted = self._store.wanted(self._search.id)
        status = wanted.status
        if status in {SearchStatus.CANCELLING, SearchStatus.CANCELLED}:
            raise StopRequested(SearchStatus.CANCELLED)
        self.wants_pause = status in {SearchStatus.PAUSING, SearchStatus.PAUSED}
        self.limits, self._share = wanted.limits, wanted.share
        self._due = monotonic() + _POLL_SECONDS
