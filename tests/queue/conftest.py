"""A store with searches that wait for a server, and servers to run them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from evomerge.preflight import PreflightReport
from evomerge.queue.scheduler import Scheduler
from evomerge.queue.settings import QueueSettings
from evomerge.service import check_search
from evomerge.store import SQLStore, open_store
from evomerge.store.types import SearchStatus
from tests.support import fake_spec


@dataclass
class Place:
    """A store, a checked search, and what the test started."""

    store: SQLStore
    folder: Path
    checked: PreflightReport
    servers: list[Scheduler]

    def submit(self, owner: str = "ada", **given: Any) -> str:
        """Queue the search once more; its id."""
        spec = self.checked.spec.model_copy(update=given.pop("changes", {}))
        search, _ = self.store.enqueue(
            spec, scope=self.checked.scope, versions=self.checked.versions, owner=owner, **given
        )
        return search.id

    def server(self, **settings: Any) -> Scheduler:
        """One more server, not started yet."""
        number = len(self.servers)
        chosen = QueueSettings(**{"inline": True, "poll": 0.1, **settings})
        store = open_store(self.store.url)
        self.servers.append(Scheduler(store, chosen, self.folder / f"server-{number}"))
        return self.servers[-1]

    def vanish(self, server: Scheduler, search_id: str) -> None:
        """End a server without a word, as SIGKILL does: its claim runs out, nothing is released."""
        server._done.set()
        server._thread.join()
        self.servers.remove(server)
        self.store.renew_claims(server.server, [search_id], 0.0)

    def status(self, search_id: str) -> SearchStatus:
        return self.store.search(search_id).status

    def started(self, search_id: str) -> int:
        """How often a controller was started."""
        lines = self.store.log_lines(search_id)
        return sum("its controller is started" in line.message for line in lines)


@pytest.fixture
def place(any_url, tmp_path):
    """On each database in turn."""
    yield from _place(any_url, tmp_path)


@pytest.fixture
def local_place(sqlite_url, tmp_path):
    """On SQLite alone, for what the database has no part in."""
    yield from _place(sqlite_url, tmp_path)


def _place(url: str, folder: Path) -> Iterator[Place]:
    store = open_store(url)
    spec = fake_spec(folder / "models", budget={"candidates": 6})
    found = Place(store, folder, check_search(spec, url), [])
    yield found
    for server in found.servers:
        server.stop()
    # pytest shows it beside a test that failed.
    for search in store.searches():
        print(f"{search.id} is {search.status}: {search.message}")
        print(*(f"  {line.message}" for line in store.log_lines(search.id)), sep="\n")
    store.close()


def wait_until(reached: Callable[[], bool], seconds: float = 90.0) -> None:
    """Return as soon as it is so; fail where it takes longer."""
    deadline = time.monotonic() + seconds
    while not reached():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.05)
