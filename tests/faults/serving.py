"""An HTTP server that is killed while people use it, and the check that its word was kept.

`evomerge serve` runs in a process of its own. Somebody submits searches over HTTP and steers them, and
remembers every answer that was given. The server is killed at random moments (one time in four with all
controllers, one time in four while it still starts) and started again. In the end each search that was
acknowledged is there once, has the history that it has undisturbed, and every acknowledged wish stands.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from evomerge.client import Client
from evomerge.errors import ResourceError, SpecError
from evomerge.spec import SearchSpec
from evomerge.store import SQLStore, open_store
from evomerge.store.access import Scope
from evomerge.store.types import SearchStatus
from tests.dispatch.nodes import free_port
from tests.faults.chaos import Report, chaos_spec, ending, scored_twice, undisturbed
from tests.faults.killing import ROOT, Victim
from tests.support import history

_PATIENCE = 120.0
_AT_ONCE = 3
_OPEN = (SearchStatus.PENDING, SearchStatus.RUNNING, SearchStatus.PAUSING, SearchStatus.PAUSED)
_HELD = (SearchStatus.PAUSING, SearchStatus.PAUSED)


class Server(Victim):
    """`evomerge serve`, one process after the other on the same store and port."""

    def __init__(self, url: str, folder: Path, token: str) -> None:
        home = {"XDG_DATA_HOME": str(folder / "home"), "EVOMERGE_STORE": url}
        super().__init__(url, "", log=folder / "server.log", environment=home)
        self.port, self._folder = free_port(), folder
        self._headers = {"Authorization": f"Bearer {token}"}

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        options = ["--inline", "--port", str(self.port), "--max-running", str(_AT_ONCE)]
        options += ["--model-folder", str(self._folder)]
        assert self.log is not None
        with self.log.open("ab") as words:
            self.driver = subprocess.Popen(
                [sys.executable, "-m", "evomerge", "serve", *options],
                cwd=self._folder,
                env={**os.environ, **self.surroundings},
                stdout=words,
                stderr=words,
                stdin=subprocess.DEVNULL,
            )

    @property
    def surroundings(self) -> dict[str, str]:
        """What its environment has beside this process's own."""
        return {"EVOMERGE_TEST_MARK": self.mark, "PYTHONPATH": str(ROOT), **self.environment}

    def answers(self) -> bool:
        """Whether it answers somebody with a token out of the store."""
        with suppress(httpx.HTTPError):
            address = f"{self.address}/api/v1/searches"
            return httpx.get(address, headers=self._headers, timeout=5).is_success
        return False

    def wait(self) -> None:
        """Return as soon as it answers."""
        deadline = time.monotonic() + _PATIENCE
        while not self.answers():
            assert self.driver is not None and self.driver.poll() is None, "the server ended"
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.05)


@dataclass
class Word:
    """What may stand in the store about one search: what was acknowledged last, and what was asked since."""

    spec: SearchSpec
    priority: set[int] = field(default_factory=lambda: {0})
    hours: set[float | None] = field(default_factory=lambda: {None})


@dataclass
class Caller:
    """Somebody who keeps a server busy with searches, steers them, and holds it to its answers."""

    server: Server
    token: str
    store: SQLStore
    folder: Path
    chooser: random.Random
    words: dict[str, Word] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)
    enough: threading.Event = field(default_factory=threading.Event)
    _made: int = 0

    def run(self) -> None:
        """Submit and steer until it is enough; whatever goes wrong is kept in `broken`."""
        try:
            with Client(self.server.address, self.token, timeout=10, retries=1) as client:
                while not self.enough.is_set():
                    if len(self.open()) < _AT_ONCE:
                        self._submit(client)
                    self._steer(client)
                    time.sleep(self.chooser.uniform(0.0, 0.5))
        except Exception as error:
            self.broken.append(repr(error))

    def open(self) -> list[str]:
        """The acknowledged searches that have not ended."""
        return [one for one in self.words if self.store.search(one).status in _OPEN]

    def _submit(self, client: Client) -> None:
        number, self._made = self._made, self._made + 1
        spec = _own(chaos_spec(self.folder / "models", number), number)
        file = spec.model_dump(mode="json", exclude_unset=True)
        key = f"search-{number}"
        state = self._until(lambda: client.submit(file, key=key))
        if state.search in self.words:
            self.broken.append(f"two submissions got one search: {state.search}")
        self.words[state.search] = Word(spec)

    def _steer(self, client: Client) -> None:
        """One wish, about a search that has not ended as far as anybody knows."""
        if not (ready := self.open()):
            return
        search = self.chooser.choice(ready)
        wish = self.chooser.choice((self._prioritise, self._limit, self._pause))
        with suppress(SpecError):  # it has ended meanwhile
            wish(client, search)

    def _prioritise(self, client: Client, search: str) -> None:
        priority = self.chooser.randint(-100, 100)
        self.words[search].priority.add(priority)
        self._until(lambda: client.prioritise(search, priority))
        self.words[search].priority = {priority}

    def _limit(self, client: Client, search: str) -> None:
        hours = float(self.chooser.randint(50, 500))
        self.words[search].hours.add(hours)
        self._until(lambda: client.edit(search, hours=hours))
        self.words[search].hours = {hours}

    def _pause(self, client: Client, search: str) -> None:
        """An acknowledged pause holds until somebody says otherwise."""
        self._until(lambda: client.pause(search))
        time.sleep(self.chooser.uniform(0.0, 2.0))
        status = self.store.search(search).status
        if status in (SearchStatus.PENDING, SearchStatus.RUNNING):
            self.broken.append(f"{search} is {status} after an acknowledged pause")
        self._until(lambda: client.resume(search))

    def _until(self, ask: Callable[[], Any]) -> Any:
        """The answer, asked for again and again while no server is there."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return ask()
            except ResourceError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.1)


def _own(spec: SearchSpec, number: int) -> SearchSpec:
    """With tasks of its own: nothing is taken over from another search."""
    names = ("alpha", "beta")
    tasks = tuple(
        task.model_copy(update={"task": f"{name}-{number}"})
        for name, task in zip(names, spec.objective.tasks, strict=True)
    )
    return spec.model_copy(
        update={
            "name": f"search {number}",
            "objective": spec.objective.model_copy(update={"tasks": tasks}),
        }
    )


def endure_serving(fault: str, times: int, *, folder: Path, url: str, seed: int = 0) -> Report:
    """Kill servers `times` times under load; recovery is the time to the next answered request."""
    report, chooser = Report(fault), random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    store = open_store(url)
    token, _ = store.create_token("ada", Scope.SUBMIT)
    server = Server(store.url, folder, token)
    caller = Caller(server, token, open_store(store.url), folder, random.Random(seed + 1))
    with ending(server):
        server.start()
        server.wait()
        thread = threading.Thread(target=caller.run, daemon=True)
        thread.start()
        while report.strikes < times and time.monotonic() < report.until and not caller.broken:
            time.sleep(chooser.uniform(0.0, 4.0))
            _strike(server, chooser, report)
            report.searches = len(caller.words)
            report.tell()
        caller.enough.set()
        thread.join(_PATIENCE)
        _wait_for_all(caller)
        assert server.driver is not None
        server.driver.send_signal(signal.SIGTERM)
        server.driver.wait(30)
        assert (left := server.wait_until_gone(30)) == [], f"processes were left over: {left}"
    assert caller.broken == []
    _check(store, caller, folder)
    report.searches = len(caller.words)
    store.close()
    return report


def _strike(server: Server, chooser: random.Random, report: Report) -> None:
    """SIGKILL of the server, and once more while it starts where luck has it so; then it is waited for."""
    assert server.driver is not None
    while True:
        report.strikes += 1
        struck = time.monotonic()
        whole = chooser.random() < 0.25
        for process in server.processes() if whole else ():
            with suppress(Exception):
                process.kill()
        server.driver.kill()
        server.driver.wait(30)
        server.start()
        if chooser.random() < 0.75:
            break
        time.sleep(chooser.uniform(0.0, 3.0))
    server.wait()
    report.recoveries.append(time.monotonic() - struck)


def _wait_for_all(caller: Caller) -> None:
    deadline = time.monotonic() + _PATIENCE
    while left := caller.open():
        assert not caller.broken, caller.broken
        assert time.monotonic() < deadline, f"these do not end: {left}"
        time.sleep(0.2)


def _check(store: SQLStore, caller: Caller, folder: Path) -> None:
    """Every acknowledged answer stands, once, with the undisturbed history."""
    there = store.searches()
    assert sorted(search.id for search in there) == sorted(caller.words), "lost or doubled"
    for search in there:
        word, place = caller.words[search.id], store.place(search.id)
        assert search.status is SearchStatus.FINISHED, (search.id, search.message)
        assert place is not None and place.priority in word.priority
        assert store.limits(search.id).budget_of(word.spec).hours in word.hours
        calm = folder / f"calm-{search.id}"
        calm.mkdir()
        assert history(store, search.id) == undisturbed(calm, word.spec), f"{search.id}: another"
        assert scored_twice(store, search.id) == []
