"""The controller of one search: baselines, generations, finals.

It keeps no state of its own. Every step is a function of the stored history, so a controller that
starts on an interrupted search walks the same path again, finds each candidate and each score in
the store already, and goes on where the path ends. Fresh run and resume are one piece of code.
"""

from collections.abc import Sequence

from evomerge.controller.baseline_phase import score_baselines, score_soup
from evomerge.controller.events import Listener, Note, ignore
from evomerge.controller.evolution import Evolution
from evomerge.controller.finals import run_finals
from evomerge.controller.lease import LeaseKeeper
from evomerge.controller.ledger import Ledger
from evomerge.controller.scheduling import Scheduler
from evomerge.controller.start import make_start
from evomerge.controller.wishes import StopRequested, Wishes
from evomerge.dispatch.base import Dispatcher
from evomerge.errors import EvomergeError, LeaseLostError
from evomerge.space import SearchSpace
from evomerge.spec import SOUP
from evomerge.store.api import Store
from evomerge.store.types import SearchRecord, SearchStatus

_OVER = (SearchStatus.CANCELLING, SearchStatus.CANCELLED, SearchStatus.FINISHED)
STARTABLE = tuple(status for status in SearchStatus if status not in _OVER)
"""To start a search again overrules an earlier pause, but not a cancellation that came in just now."""


class Controller:
    """Runs one search to its end, or until it is paused or cancelled.

    Args:
        store, search: where the search is kept.
        space: the search's space bound to its base model.
        dispatcher: the workers, started by whoever made them.
        owner: who holds the lease, from `store.make_owner`.
        listener: is told what happens.
        startable: the statuses that it may start from; in any other it does what that one wishes.
    """

    def __init__(
        self,
        store: Store,
        search: SearchRecord,
        space: SearchSpace,
        dispatcher: Dispatcher,
        *,
        owner: str,
        listener: Listener = ignore,
        startable: Sequence[SearchStatus] = STARTABLE,
    ) -> None:
        self._store, self._search, self._space = store, search, space
        self._dispatcher, self._owner, self._listener = dispatcher, owner, listener
        self._startable = startable

    def run(self) -> SearchStatus:
        """Returns the status that the search ended with. Raises what stops a search for good."""
        with LeaseKeeper(self._store, self._search.id, self._owner) as lease:
            try:
                self._store.set_status(
                    self._search.id, SearchStatus.RUNNING, only_from=self._startable
                )
                self._dispatcher.start()
                self._walk(lease)
                return self._set_status(SearchStatus.FINISHED)
            except StopRequested as stop:
                return self._set_status(stop.status)
            except LeaseLostError:
                raise
            except EvomergeError as error:
                self._set_status(SearchStatus.FAILED, str(error))
                raise
            except Exception as error:
                self._set_status(SearchStatus.FAILED, f"{type(error).__name__}: {error}")
                raise
            except KeyboardInterrupt:
                self._set_status(SearchStatus.PAUSED, "interrupted")
                raise

    def _walk(self, lease: LeaseKeeper) -> None:
        wishes = Wishes(self._store, self._search, lease)
        attempts = self._search.spec.workers.attempts
        scheduler = Scheduler(self._store, self._dispatcher, wishes, attempts=attempts)
        ledger = Ledger(self._store, self._search, self._owner, scheduler, self._listener)
        if self._search.spec.strategy.name == SOUP:
            run_finals(ledger, score_soup(ledger, self._listener), self._listener)
            return
        baselines = score_baselines(ledger, self._listener, self._space.spec.seed)
        start = make_start(ledger, self._space, baselines)
        self._listener(Note(f"the search starts near the best baseline: {start.best.label}"))
        Evolution(ledger, self._space, start, baselines).run()
        run_finals(ledger, baselines, self._listener)

    def _set_status(self, status: SearchStatus, message: str | None = None) -> SearchStatus:
        self._store.set_status(self._search.id, status, message=message)
        return status
