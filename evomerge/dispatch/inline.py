"""One worker in the controller's own process: for tests, simulations and machines without Ray."""

import os
import socket

from evomerge.errors import EvomergeError
from evomerge.worker import Done, Task, Worker


class InlineDispatcher:
    """Runs a task when it is waited for."""

    slots = 1

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self.next_worker = f"{socket.gethostname()} pid {os.getpid()}"
        self._queue: list[Task] = []

    def start(self) -> dict[str, str]:
        return self._worker.prepare()

    def resize(self, workers: int | None) -> None:
        """There is one, whatever is wished."""

    def submit(self, task: Task) -> None:
        self._queue.append(task)

    def wait(self, seconds: float) -> list[Done]:
        del seconds
        if not self._queue:
            return []
        return [self._run(self._queue.pop(0))]

    def _run(self, task: Task) -> Done:
        try:
            self._worker.run(task)
        except EvomergeError as error:
            return Done(task, error)
        return Done(task)

    def close(self) -> None:
        self._worker.close()
