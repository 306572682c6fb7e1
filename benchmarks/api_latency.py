"""How long the API takes while many searches run, and what the queue's look at the store costs.

    python benchmarks/api_latency.py [--searches 50] [--candidates 400] [--requests 600] [--rate 20]

Fills a store with searches that run (their leases are held), each with scored candidates; serves it over a
socket of this machine, with the scheduler looking once a second; and asks, at a steady rate that does not
wait for answers, for what clients and dashboards ask for. Prints milliseconds from when a request was due:
median, 95th percentile, worst.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import uvicorn

from evomerge.api.app import make_app
from evomerge.api.settings import RateLimits, ServerSettings
from evomerge.fitness import Fitness
from evomerge.queue.settings import QueueSettings
from evomerge.store import SQLStore, make_owner, open_store
from evomerge.store.access import Scope
from evomerge.store.types import SearchStatus
from evomerge.testing.store_conformance.samples import make_candidate, make_result, make_spec

CONNECTIONS = 16
PATHS = {
    "list": "/searches?limit=50",
    "status": "/searches/{search}",
    "best": "/best?search={search}",
    "candidates": "/searches/{search}/candidates?limit=50",
    "candidate": "/candidates/{candidate}",
    "logs": "/searches/{search}/logs",
    "workers": "/workers",
}


def fill(store: SQLStore, searches: int, candidates: int) -> list[str]:
    """Searches of five owners with scored candidates, all running; their ids."""
    found = []
    owner = make_owner()
    for number in range(searches):
        spec = make_spec(name=f"search-{number}")
        search, _ = store.enqueue(
            spec, scope=f"scope-{number}", versions={}, owner=f"owner-{number % 5}"
        )
        store.acquire_lease(search.id, owner, 36_000)
        store.set_status(search.id, SearchStatus.RUNNING)
        rows = store.add_candidates(
            search.id, owner, [make_candidate(n, asked_after=0) for n in range(candidates)]
        )
        evaluations = store.evaluations(search.id)
        for evaluation in evaluations:
            attempt = store.begin_attempt(evaluation.id, "worker")
            store.finish_attempt(evaluation.id, attempt, make_result(0.5, documents=2))
        store.set_fitness({e.id: Fitness(random.random(), 0.01, 0.0) for e in evaluations})
        store.mark_told(search.id, owner, {row.id: -0.5 for row in rows})
        found.append(search.id)
    return found


def ask(
    url: str, token: str, searches: list[str], requests: int, rate: float
) -> dict[str, list[float]]:
    """Seconds from when each request was due to its answer, by kind; `rate` are due a second."""
    times: dict[str, list[float]] = {name: [] for name in PATHS}
    kinds = [name for name in PATHS for _ in range(requests // len(PATHS))]
    random.Random(0).shuffle(kinds)
    began = time.perf_counter()
    due = [(began + number / rate, name) for number, name in enumerate(kinds)][::-1]
    lock = threading.Lock()

    def work() -> None:
        chooser = random.Random(threading.get_ident())
        headers = {"Authorization": f"Bearer {token}"}
        with httpx.Client(base_url=f"{url}/api/v1", headers=headers, timeout=60) as client:
            while True:
                with lock:
                    if not due:
                        return
                    when, name = due.pop()
                time.sleep(max(0.0, when - time.perf_counter()))
                path = PATHS[name].format(
                    search=chooser.choice(searches), candidate=chooser.randint(1, len(searches))
                )
                client.get(path).raise_for_status()
                times[name].append(time.perf_counter() - when)

    threads = [threading.Thread(target=work) for _ in range(CONNECTIONS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--searches", type=int, default=50)
    parser.add_argument("--candidates", type=int, default=400)
    parser.add_argument("--requests", type=int, default=600)
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--store", default=None)
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="evomerge-api-"))
    store = open_store(given.store or folder / "store.db")
    searches = fill(store, given.searches, given.candidates)
    token, _ = store.create_token("root", Scope.ADMIN)
    began = time.perf_counter()
    for _ in range(10):
        store.queue_state()
    print(
        f"the queue's look at {len(searches)} searches: {(time.perf_counter() - began) * 100:.1f} ms"
    )
    rates = RateLimits(rate=1e6, burst=10**6)
    settings = ServerSettings(
        rates=rates, log_folder=folder / "logs", queue=QueueSettings(running=given.searches)
    )
    app = make_app(store.url, settings, schedule=True)
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=8397, log_level="warning"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    ask("http://127.0.0.1:8397", token, searches, 70, 20.0)  # what is made once is made
    times = ask("http://127.0.0.1:8397", token, searches, given.requests, given.rate)
    server.should_exit = True
    thread.join(30)
    for name, seconds in {**times, "all": [x for one in times.values() for x in one]}.items():
        median, late = np.percentile(seconds, [50, 95]) * 1000
        print(f"{name:<12} {median:7.1f} {late:7.1f} {max(seconds) * 1000:7.1f} ms")


if __name__ == "__main__":
    main()
