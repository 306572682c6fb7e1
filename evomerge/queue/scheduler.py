"""A server's loop: start what is due, look after what runs, take note of what ended.

Nothing is remembered that the store does not say too: a server that is killed and started again goes on
with what it finds. A search counts as running as long as a server claims it or a controller holds its
lease; where both ran out, whoever looks first starts it again.
"""

import logging
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path

from evomerge.errors import EvomergeError
from evomerge.queue.child import AGAIN, MISTAKE
from evomerge.queue.exports import Exporter
from evomerge.queue.fair import decide
from evomerge.queue.processes import Ended, Processes
from evomerge.queue.settings import QueueSettings
from evomerge.store import SQLStore, make_owner
from evomerge.store.access import Decision
from evomerge.store.types import STOPPED, SearchStatus

LOGGER = logging.getLogger("evomerge.queue")
CLAIM_SECONDS = 60.0
"""How long after its last sign of life a server is given up."""
_AS_WISHED = (SearchStatus.PAUSED, SearchStatus.CANCELLED, SearchStatus.FINISHED)
_CHILD = "evomerge.queue.child"


def back_off(failures: int) -> float:
    """Seconds until a controller that died so many times in a row is started again."""
    return float(min(300.0, 2.0**failures))


class Scheduler:
    """The queue of one server; `start` runs it in a thread, `tick` is one look.

    Args:
        folder: where the words of controllers and exports are kept.
        export_folder: below which candidates are exported; None: they are not.
    """

    def __init__(
        self,
        store: SQLStore,
        settings: QueueSettings,
        folder: Path,
        export_folder: Path | None = None,
    ) -> None:
        self._store, self._settings = store, settings
        self._server = make_owner()
        self._processes = Processes(folder, {"EVOMERGE_STORE": store.url})
        self._exporter = Exporter(store, self._server, export_folder, folder)
        self._detached: set[str] = set()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="evomerge-queue", daemon=True)

    @property
    def server(self) -> str:
        """The name under which it claims searches."""
        return self._server

    @property
    def alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End the loop and the controllers; their searches are free for other servers at once."""
        self._done.set()
        if self._thread.is_alive():
            self._thread.join()
        _quietly(self._take_note)
        names = self._processes.names
        self._processes.stop(names)
        self._processes.ended()
        for search_id in {*names, *self._detached}:
            _quietly(partial(self._release, search_id))
        _quietly(self._exporter.stop)

    def tick(self) -> Decision:
        """Take note of what ended, keep what runs, start what is due."""
        self._take_note()
        self._keep_claims()
        choice = partial(decide, settings=self._settings)
        decision = self._store.schedule(self._server, CLAIM_SECONDS, choice)
        for search_id in decision.claims:
            self._launch(search_id)
        return decision

    def _take_note(self) -> None:
        for ended in self._processes.ended():
            self._settle(ended)
        self._follow_detached()

    def _loop(self) -> None:
        while not self._done.wait(self._settings.poll):
            _quietly(self.tick)
            _quietly(self._exporter.tick)

    def _launch(self, search_id: str) -> None:
        arguments = [search_id]
        if self._settings.address is not None:
            arguments += ["--detach", self._settings.address]
        elif self._settings.inline:
            arguments += ["--inline"]
        self._store.log(search_id, f"its controller is started by {_short(self._server)}")
        self._processes.start(search_id, _CHILD, arguments)

    def _settle(self, ended: Ended) -> None:
        """What becomes of a search whose process ended: done, out of the queue, or once more."""
        search = self._store.search(ended.name)
        if ended.code == 0 and self._settings.address is not None:
            self._detached.add(ended.name)
            return
        if ended.code in (0, MISTAKE) or search.status in _AS_WISHED:
            self._store.log(ended.name, f"it is {search.status}" + _reason(search.message))
            self._release(ended.name)
            return
        self._retry(ended)

    def _retry(self, ended: Ended) -> None:
        how = "could not go on" if ended.code == AGAIN else f"died (exit code {ended.code})"
        last = ended.words.splitlines()[-1:] if ended.words else []
        self._store.log(ended.name, f"its controller {how}{_reason(*last)}", "warning")
        # What a passing fault left as failed waits for its next try.
        self._store.set_status(ended.name, SearchStatus.PENDING, only_from=[SearchStatus.FAILED])
        failures = self._release(ended.name, failed=True)
        if failures >= self._settings.attempts:
            self._give_up(ended, failures)

    def _give_up(self, ended: Ended, failures: int) -> None:
        message = f"its controller failed {failures} times in a row{_reason(ended.words[-500:])}"
        self._store.set_status(ended.name, SearchStatus.FAILED, message=message)
        self._store.set_wanted(ended.name, False)
        self._store.log(ended.name, message, "error")

    def _follow_detached(self) -> None:
        """Controllers on the cluster are known by their searches' status and leases alone."""
        if not self._detached:
            return
        state = {e.search_id: e for e in self._store.queue_state().entries}
        for search_id in sorted(self._detached):
            search = self._store.search(search_id)
            entry = state.get(search_id)
            if search.status in STOPPED:
                self._store.log(search_id, f"it is {search.status}" + _reason(search.message))
                self._release(search_id)
            elif entry is not None and entry.led:
                self._release(search_id)  # from here on its lease says that it runs
            else:
                continue
            self._detached.discard(search_id)

    def _keep_claims(self) -> None:
        held = {*self._processes.names, *self._detached}
        if not held:
            return
        kept = self._store.renew_claims(self._server, sorted(held), CLAIM_SECONDS)
        lost = sorted(held - kept)
        # Another server gave this one up, after a long pause: that one's controller counts now.
        self._processes.stop(lost, grace=0.0)
        self._detached.difference_update(lost)

    def _release(self, search_id: str, *, failed: bool = False) -> int:
        return self._store.release_claim(self._server, search_id, failed=failed, pause=back_off)


def _quietly(work: Callable[[], object]) -> None:
    """A store that is away for a while ends no loop."""
    try:
        work()
    except EvomergeError as error:
        LOGGER.warning("%s", error)
    except Exception:
        LOGGER.exception("a fault in the queue")


def _short(server: str) -> str:
    host, pid, *_ = server.split(":")
    return f"server {host} (process {pid})"


def _reason(*texts: str | None) -> str:
    from evomerge.telemetry.redact import redact

    return "".join(f": {redact(text)}" for text in texts if text)
