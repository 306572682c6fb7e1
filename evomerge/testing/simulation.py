"""A cluster on a simulated clock: many workers, durations as they are wished, real strategy and store.

For tests and benchmarks of what workers wait for. Only time is simulated: candidates are asked, stored,
scored (by the fake engine) and told by the code that runs everywhere.
"""

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count

from evomerge.errors import EvomergeError
from evomerge.fitness import Split
from evomerge.worker import Done, Task, Worker


@dataclass(frozen=True, slots=True)
class Stint:
    """What one worker did from `start` to `end`, in simulated seconds."""

    start: float
    end: float
    split: Split


class SimulatedCluster:
    """A dispatcher whose tasks end in the order of their simulated durations.

    Args:
        worker: scores every task, at the moment at which it ends.
        workers: how many tasks run at once.
        seconds: how long a task takes.
        remember: how many of the last stints are kept; by default all.
    """

    def __init__(
        self,
        worker: Worker,
        workers: int,
        seconds: Callable[[Task], float],
        remember: int | None = None,
    ) -> None:
        self._worker, self._seconds = worker, seconds
        self._running: list[tuple[float, int, Task]] = []
        self._order = count()
        self.slots = workers
        self.next_worker = "simulated"
        self.now = 0.0
        self.stints: deque[Stint] = deque(maxlen=remember)

    def start(self) -> dict[str, str]:
        return self._worker.prepare()

    def resize(self, workers: int | None) -> None:
        self.slots = workers or self.slots

    def submit(self, task: Task) -> None:
        end = self.now + self._seconds(task)
        self.stints.append(Stint(self.now, end, task.split))
        heapq.heappush(self._running, (end, next(self._order), task))

    def wait(self, seconds: float) -> list[Done]:
        del seconds
        if not self._running:
            return []
        self.now, _, task = heapq.heappop(self._running)
        try:
            self._worker.run(task)
        except EvomergeError as error:
            return [Done(task, error)]
        return [Done(task)]

    def close(self) -> None:
        self._worker.close()

    def busy_share(self, first: int, last: int) -> float:
        """How busy the workers were while the tasks `first` to `last` (half open) began."""
        begin, end = self.stints[first].start, self.stints[last - 1].start
        spent = sum(max(0.0, min(one.end, end) - max(one.start, begin)) for one in self.stints)
        return spent / (self.slots * (end - begin))
