"""The controller that `benchmarks.simulated_cluster` has a server start: real, but for its workers.

    python -m benchmarks.simulated_controller SEARCH --inline

`evomerge.queue.child` with other workers: as many as the search is given, each of which waits as long as a
candidate takes and has it scored by the fake engine then, through the real worker class and its own
connection to the store. What that costs the processor is counted apart from what the controller costs. Every
second both are written to a file of the folder that SIMULATED_CLUSTER names.
"""

import heapq
import json
import os
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

import psutil

from evomerge.errors import EvomergeError
from evomerge.evaluation import make_evaluator
from evomerge.queue import child
from evomerge.spec import SearchSpec
from evomerge.store import open_store
from evomerge.worker import Done, Task, Worker
from tests.controller.simulated import uneven

FOLDER, SECONDS = "SIMULATED_CLUSTER", "SIMULATED_SECONDS"
_MEAN_OF_UNEVEN = 3.909  # 9 / ln 10 seconds
_FIRST = 20
"""Candidates that take a second each, baselines among them: they only stand before what is measured."""


class WaitingWorkers:
    """A dispatcher of workers that wait in real time.

    Args:
        worker: scores every task at the moment at which it ends.
        slots: how many tasks run at once.
        seconds: of a candidate in the mean.
    """

    def __init__(self, worker: Worker, slots: int, seconds: float) -> None:
        self._worker, self._most, self._seconds = worker, slots, seconds
        self._running: list[tuple[float, int, Task]] = []
        self._order = count()
        self.slots, self.next_worker = slots, f"simulated pid {os.getpid()}"
        self._done, self._busy, self._wrote = 0, 0.0, 0.0
        self._file = Path(os.environ[FOLDER]) / f"{os.getpid()}.json"

    def start(self) -> dict[str, str]:
        return self._worker.prepare()

    def resize(self, workers: int | None) -> None:
        self.slots = workers or self._most

    def submit(self, task: Task) -> None:
        heapq.heappush(
            self._running, (time.monotonic() + self._takes(task), next(self._order), task)
        )

    def _takes(self, task: Task) -> float:
        early = task.about is not None and task.about.candidate < _FIRST
        return 1.0 if early else uneven(task) * self._seconds / _MEAN_OF_UNEVEN

    def wait(self, seconds: float) -> list[Done]:
        due = self._running[0][0] if self._running else float("inf")
        time.sleep(max(0.0, min(seconds, due - time.monotonic())))
        done: list[Done] = []
        while self._running and self._running[0][0] <= time.monotonic():
            done.append(self._score(heapq.heappop(self._running)[2]))
        self._report()
        return done

    def _score(self, task: Task) -> Done:
        began = time.thread_time()
        try:
            self._worker.run(task)
        except EvomergeError as error:
            return Done(task, error)
        finally:
            self._busy += time.thread_time() - began
            self._done += 1
        return Done(task)

    def _report(self) -> None:
        if time.monotonic() - self._wrote < 1.0:
            return
        self._wrote = time.monotonic()
        said = {
            "candidates": self._done,
            "controller": time.process_time() - self._busy,
            "workers": self._busy,
            "memory": psutil.Process().memory_info().rss,
            "running": len(self._running),
        }
        draft = self._file.with_suffix(".part")
        draft.write_text(json.dumps(said), encoding="utf-8")
        draft.replace(self._file)

    def close(self) -> None:
        self._worker.close()


def _waiting(spec: SearchSpec, store_url: str, **_: Any) -> WaitingWorkers:
    worker = Worker(open_store(store_url), lambda: make_evaluator(spec))
    return WaitingWorkers(worker, spec.workers.max, float(os.environ[SECONDS]))


if __name__ == "__main__":
    child.make_dispatcher = _waiting  # type: ignore[assignment]
    sys.exit(child.main())
