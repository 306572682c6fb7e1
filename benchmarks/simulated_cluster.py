"""A thousand workers and fifty searches on one controller node: what do controllers, store and API cost?

    python -m benchmarks.simulated_cluster --searches 50 --workers 1000 --seconds 100

PostgreSQL, a server, and fifty controllers, each a process of its own that the server's queue started: all as
in `evomerge serve`, but for the workers, which wait as long as a candidate takes (`--seconds` in the mean,
tenfold apart) and have it scored by the fake engine through the real worker class
(`benchmarks.simulated_controller`). Searches are submitted over HTTP. When each of them has all its workers
at work, everything is measured for `--window` seconds while clients ask the API for what dashboards ask for,
20 times a second. Prints the processor time of a candidate by who spent it, memory of a controller, and how
long the API took. Load of other work on the machine is printed beside: it makes waits longer, processor time
hardly.
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import httpx
import numpy as np
import psutil

from benchmarks.api_latency import ask
from benchmarks.simulated_controller import FOLDER, SECONDS
from evomerge.client import Client
from evomerge.store import open_store
from evomerge.store.access import Scope
from tests.dispatch.nodes import free_port
from tests.faults.chaos import Database
from tests.support import fake_spec

_RATE = 20.0
_CONNECTIONS_EACH = 5


@dataclass(frozen=True)
class Moment:
    """What was spent until now."""

    when: float
    candidates: int
    controllers: float
    """Seconds of the processor."""
    workers: float
    store: float
    server: float
    memory: tuple[float, ...]
    """MB of each controller."""
    running: int


class Cluster:
    """Database, server and everything below them."""

    def __init__(self, folder: Path, database: Database, server: psutil.Process) -> None:
        self._folder, self._database, self._server = folder, database, server

    def look(self) -> Moment:
        """Read what the controllers say and what the system knows."""
        said = [json.loads(file.read_text()) for file in self._folder.glob("*.json")]
        return Moment(
            time.monotonic(),
            sum(one["candidates"] for one in said),
            sum(one["controller"] for one in said),
            sum(one["workers"] for one in said),
            _spent(self._database.processes()),
            _spent([self._server]),
            tuple(one["memory"] / 1e6 for one in said),
            sum(one["running"] for one in said),
        )


def _spent(processes: list[psutil.Process]) -> float:
    """Seconds of the processor of processes, and of their children that have ended."""
    times = [process.cpu_times() for process in processes if process.is_running()]
    return float(sum(t.user + t.system for t in times))


def serve(url: str, port: int, searches: int, workers: int, folder: Path) -> None:
    """The server's process."""
    from evomerge.api.serving import run
    from evomerge.api.settings import RateLimits, ServerSettings
    from evomerge.queue import scheduler
    from evomerge.queue.settings import QueueSettings

    scheduler._CHILD = "benchmarks.simulated_controller"
    settings = ServerSettings(
        port=port,
        model_folders=(folder,),
        log_folder=folder / "logs",
        rates=RateLimits(rate=1e6, burst=10**6),
        queue=QueueSettings(running=searches, workers=workers, inline=True),
    )
    run(url, settings, schedule=True)


@contextmanager
def serving(arguments: list[str], environment: dict[str, str]) -> Iterator[psutil.Process]:
    """The server, which ends its controllers when it is ended."""
    command = [sys.executable, "-m", "benchmarks.simulated_cluster", "--serve", *arguments]
    process = subprocess.Popen(command, env={**os.environ, **environment})
    try:
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(120)


def submit(client: Client, folder: Path, searches: int, workers: int) -> list[str]:
    """Searches that share no result, with more candidates than they will come to."""
    found = []
    for number in range(searches):
        tasks = [{"task": f"alpha-{number}"}, {"task": f"beta-{number}"}]
        spec = fake_spec(
            folder / "models",
            name=f"search {number}",
            objective={"tasks": tasks, "limit": 40},
            budget={"candidates": 100_000},
            workers={"max": workers},
            strategy={"name": "cma", "seed": number, "asynchronous": True},
        )
        state = client.submit(spec.model_dump(mode="json", exclude_unset=True))
        found.append(state.search)
    return found


def wait_for_answer(url: str) -> None:
    """Return once the server is there."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        try:
            httpx.get(f"{url}/healthz", timeout=5).raise_for_status()
            return
        except httpx.HTTPError:
            time.sleep(0.2)
    raise SystemExit("the server does not answer")


def wait_for_work(cluster: Cluster, searches: int, workers: int, patience: float) -> Moment:
    """Return once nearly all workers are at work."""
    deadline = time.monotonic() + patience
    while True:
        now = cluster.look()
        print(f"  {len(now.memory)} controllers, {now.running} workers at work", flush=True)
        if len(now.memory) == searches and now.running >= 0.98 * workers:
            return now
        if time.monotonic() > deadline:
            print("not all of them came to work in time: measured is what did")
            return now
        time.sleep(10)


def show(before: Moment, after: Moment, times: dict[str, list[float]], searches: int) -> None:
    """Print the measured."""
    passed, done = after.when - before.when, after.candidates - before.candidates
    print(
        f"{searches} searches, {after.running} workers at work, {done} candidates in {passed:.0f} s"
    )
    for name in ("controllers", "workers", "store", "server"):
        spent = getattr(after, name) - getattr(before, name)
        each = 1000 * spent / max(1, done)
        print(
            f"{name:<12} {each:7.1f} ms of a processor a candidate, {spent / passed:6.3f} processors"
        )
    memory = after.memory
    print(
        f"a controller holds {median(memory):.0f} MB ({max(memory):.0f} at most), all {sum(memory):.0f}"
    )
    for name, seconds in {**times, "all": [x for one in times.values() for x in one]}.items():
        middle, late = np.percentile(seconds, [50, 95]) * 1000
        print(f"API {name:<12} {middle:7.1f} {late:7.1f} {max(seconds) * 1000:7.1f} ms")
    load = " ".join(f"{one:.1f}" for one in os.getloadavg())
    print(
        f"median, 95th percentile, worst; load of the machine {load} on {os.cpu_count()} processors"
    )


def measure(options: argparse.Namespace, folder: Path, database: Database) -> None:
    """Start everything, wait, measure."""
    url, port = database.schema(folder), free_port()
    store = open_store(url)
    token, _ = store.create_token("root", Scope.ADMIN)
    said = folder / "said"
    said.mkdir()
    environment = {FOLDER: str(said), SECONDS: str(options.seconds), "OMP_NUM_THREADS": "1"}
    given = [store.url, str(port), str(options.searches), str(options.workers), str(folder)]
    address = f"http://127.0.0.1:{port}"
    with serving(given, environment) as process, Client(address, token) as client:
        wait_for_answer(address)
        searches = submit(client, folder, options.searches, options.workers // options.searches)
        cluster = Cluster(said, database, process)
        wait_for_work(cluster, options.searches, options.workers, options.patience)
        ask(address, token, searches, 70, _RATE)
        before = cluster.look()
        times = ask(address, token, searches, int(_RATE * options.window), _RATE)
        show(before, cluster.look(), times, options.searches)
    store.close()


def main() -> None:
    """The benchmark, or its server."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--searches", type=int, default=50)
    parser.add_argument("--workers", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=100.0)
    parser.add_argument("--window", type=float, default=60.0)
    parser.add_argument("--patience", type=float, default=1200.0)
    parser.add_argument("--serve", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        url, port, searches, workers, folder = options.serve
        serve(url, int(port), int(searches), int(workers), Path(folder))
        return
    random.seed(0)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as place:
        most = _CONNECTIONS_EACH * options.searches + 50
        database = Database(Path(place) / "postgresql", max_connections=most)
        try:
            measure(options, Path(place), database)
        finally:
            database.close()


if __name__ == "__main__":
    main()
