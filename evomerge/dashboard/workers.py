"""Workers: what each one does now, what it did lately, and where all their time went."""

from collections.abc import Sequence
from dataclasses import dataclass

from evomerge.dashboard.overview import TimeView, view_time
from evomerge.store import SQLStore
from evomerge.store.pages import Job, SearchView, WorkerTime

_OVERDUE = 3.0
"""A job is long when it has taken so many times what the worker's own ones take."""
_SEARCHES = 1000
_SEEN = 3600.0
"""Seconds for which an idle worker is still shown."""


@dataclass(frozen=True)
class WorkerLine:
    """A worker. job: what it does now; None where it waits or is gone. time: its latest past."""

    name: str
    job: Job | None
    time: WorkerTime | None
    idle_for: float | None

    @property
    def usual(self) -> float | None:
        """Seconds that a job of this worker takes."""
        if self.time is None or not self.time.attempts or not self.time.busy:
            return None
        ended = self.time.attempts - (1 if self.job else 0)
        return self.time.busy / ended if ended > 0 else None

    @property
    def overdue(self) -> bool:
        """Whether it takes much longer than usual."""
        return bool(self.job and self.usual and self.job.seconds > _OVERDUE * self.usual + 30)

    @property
    def busy(self) -> float:
        """The share of its time in which it had something to do."""
        if self.time is None or not self.time.present:
            return 0.0
        return min(1.0, self.time.busy / self.time.present)


@dataclass(frozen=True)
class Fleet:
    """The page."""

    lines: tuple[WorkerLine, ...]
    time: TimeView
    searches: int

    @property
    def busy(self) -> Sequence[WorkerLine]:
        return [line for line in self.lines if line.job]

    @property
    def overdue(self) -> int:
        return sum(line.overdue for line in self.lines)


def read_fleet(store: SQLStore, *, restricted_to: str | None = None) -> Fleet:
    """Every worker that is busy, or was within the hour.

    restricted_to: the owner for whose searches alone jobs are shown.
    """
    jobs = store.jobs()
    if restricted_to is not None:
        own = store.search_page(SearchView(owner=restricted_to), limit=_SEARCHES).rows
        seen = {row.search.id for row in own}
        jobs = [job for job in jobs if job.search_id in seen]
    window = store.worker_times()
    now = store.clock()
    times = {time.worker: time for time in window.workers}
    busy = [WorkerLine(job.worker, job, times.get(job.worker), None) for job in jobs]
    working = {job.worker for job in jobs}
    idle = [
        WorkerLine(time.worker, None, time, now - time.last_at)
        for time in window.workers
        if time.worker not in working and now - time.last_at < _SEEN
    ]
    idle.sort(key=lambda line: line.idle_for or 0.0)
    busy.sort(key=lambda line: line.name)
    return Fleet((*busy, *idle), view_time(window), len({job.search_id for job in jobs}))
