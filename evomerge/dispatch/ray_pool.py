"""Workers as Ray actors: one engine each, replaced when they die, given back when they idle.

A node that vanishes takes its workers along. Their candidates go back to the queue, which they leave
for whichever worker is free; new workers are asked for at once and start where there is room, now or
when a node is added. Nothing here knows how many nodes there are.
"""

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import ray
from ray.exceptions import RayError, RayTaskError

from evomerge import __version__
from evomerge.dispatch import placing
from evomerge.dispatch.actor import Ready, Terms, start_worker
from evomerge.dispatch.connection import connect
from evomerge.dispatch.losses import LOST, cause, first_line, loss, no_start
from evomerge.errors import CandidateError, EngineError, NodeLostError
from evomerge.spec import ANY_ACCELERATOR, SearchSpec
from evomerge.worker import Done, Task

_MAX_FAILED_STARTS = 3
_PATIENCE_AT_START = 30.0
_log = logging.getLogger("evomerge.dispatch")


@dataclass
class _Slot:
    """A place for one worker: parked (no actor), preparing, idle, or running a task."""

    name: str
    actor: Any = None
    group: Any = None
    preparing: Any = None
    running: Any = None
    task: Task | None = None
    ready: Ready | None = None
    idle_since: float = field(default_factory=time.monotonic)

    @property
    def label(self) -> str:
        """The worker for people: `w3 node-a pid 4711`."""
        where = "" if self.ready is None else f" {self.ready.host} pid {self.ready.pid}"
        return f"{self.name}{where}"

    @property
    def is_free(self) -> bool:
        """Whether it can take a task: an idle worker, or a place whose worker starts when needed."""
        return self.task is None and self.preparing is None


class RayDispatcher:
    """A pool of worker actors.

    Args:
        spec: says how many workers, and what each one needs.
        store_url: a URL that every node can reach.
        address: an existing cluster; None starts a local Ray that ends with this process.
        prints: fingerprints of the models, by part, where they are known.
        resumed: the search had workers before, so that a node with room for one which is missing now
            is waited for, and not taken for a mistake.
    """

    def __init__(
        self,
        spec: SearchSpec,
        store_url: str,
        address: str | None = None,
        prints: Mapping[str, str] | None = None,
        *,
        resumed: bool = False,
    ) -> None:
        self._spec, self._store_url, self._address = spec, store_url, address
        self._resumed = resumed
        self._terms = Terms(__version__, prints or {})
        self._pool: list[_Slot] = []
        self._names = count(1)
        self._failed_starts = self._refused = self._wanted = 0
        self._device: str | None = None

    @property
    def slots(self) -> int:
        return min(self._wanted, sum(slot.preparing is None for slot in self._pool))

    @property
    def next_worker(self) -> str:
        return self._free().label

    def start(self) -> dict[str, str]:
        """Ask for the workers, and wait a moment for the first of them: a cluster may be full, or
        have to grow first. Later ones, and what goes wrong with them, are for `wait`."""
        needs = self._spec.workers
        connect(self._address, needs.max * needs.cpus)
        if not self._resumed:
            placing.check_fits(needs)
        self._wanted = needs.max
        self._pool = [self._spawn(_Slot(self._name())) for _ in range(needs.max)]
        deadline = time.monotonic() + _PATIENCE_AT_START
        while time.monotonic() < deadline:
            self.wait(1.0)
            for slot in self._pool:
                if slot.ready is not None:
                    return slot.ready.versions
        _log.warning("no worker is ready yet: the cluster is full, or has to grow first")
        return {}

    def resize(self, workers: int | None) -> None:
        self._wanted = workers or self._spec.workers.max
        surplus = max(0, len(self._pool) - self._wanted)
        for slot in [s for s in self._pool if s.task is None][:surplus]:
            self._let_go(slot)
            self._pool.remove(slot)
        while len(self._pool) + self._refused < self._wanted:
            self._pool.append(self._spawn(_Slot(self._name())))

    def submit(self, task: Task) -> None:
        slot = self._free()
        if slot.actor is None:
            self._spawn(slot)
        slot.task, slot.running = task, slot.actor.run.remote(task)

    def wait(self, seconds: float) -> list[Done]:
        self._park_idle()
        ready = self._ended(seconds)
        done: list[Done] = []
        for slot in list(self._pool):
            if slot.preparing in ready:
                done += self._prepared(slot)
            # A worker that could not be prepared has lost its task already.
            if slot.running in ready and slot.task is not None:
                done.append(self._finish(slot))
        return done

    def close(self) -> None:
        for slot in self._pool:
            self._let_go(slot)
        self._pool = []

    def worker_pids(self) -> list[int]:
        """Process ids of the workers that are ready, of whatever node."""
        return [slot.ready.pid for slot in self._pool if slot.ready is not None]

    def _ended(self, seconds: float) -> list[Any]:
        """What Ray has news of, at most `seconds` later."""
        references = [r for s in self._pool for r in (s.running, s.preparing) if r is not None]
        if not references:
            time.sleep(seconds if self._pool else 0.0)
            return []
        try:
            ready, _ = ray.wait(references, num_returns=len(references), timeout=0)
            if not ready:
                ready, _ = ray.wait(references, timeout=seconds)
        except RayError as error:
            raise EngineError(
                f"the Ray cluster went away ({first_line(error)})",
                remedy="nothing is lost: `evomerge resume` goes on where it stopped",
            ) from error
        return list(ready)

    def _name(self) -> str:
        return f"w{next(self._names)}"

    def _free(self) -> _Slot:
        """A free place; one whose worker is there before one that was parked."""
        return min((s for s in self._pool if s.is_free), key=lambda slot: slot.actor is None)

    def _spawn(self, slot: _Slot) -> _Slot:
        """Ask Ray for the slot's worker. It stays pending until there is room for it."""
        if slot.group is None:
            slot.group = placing.reserve(self._spec)
        options = placing.options(self._spec, slot.group)
        slot.actor = start_worker(options, self._store_url, self._spec, self._terms)
        slot.ready, slot.preparing = None, slot.actor.prepare.remote()
        return slot

    def _let_go(self, slot: _Slot) -> None:
        """End the slot's worker, if it has one, and give its place back."""
        if slot.actor is not None:
            ray.kill(slot.actor)
        placing.give_back(slot.group)
        slot.actor = slot.group = slot.preparing = slot.running = slot.ready = None

    def _replace(self, slot: _Slot) -> None:
        """Another worker in the same place."""
        ray.kill(slot.actor)
        slot.task = slot.running = None
        self._spawn(slot)

    def _park_idle(self) -> None:
        """Give back workers that had nothing to do for long, so that a cluster can shrink."""
        minutes = self._spec.workers.idle_minutes
        if minutes is None:
            return
        for slot in self._pool:
            idle = slot.is_free and slot.actor is not None
            if idle and time.monotonic() - slot.idle_since > 60 * minutes:
                _log.info("worker idle, given back", extra={"worker": slot.label})
                self._let_go(slot)

    def _prepared(self, slot: _Slot) -> list[Done]:
        """Take a worker that is ready; where it is none, its task, if it had one already, is lost."""
        task = slot.task
        try:
            slot.ready = ray.get(slot.preparing)
        except LOST as error:
            problem = loss(error)
            self._count_failed_start(error, problem)
            self._replace(slot)
            return [] if task is None else [Done(task, problem)]
        except RayTaskError as error:
            raise cause(error) from error
        except RayError as error:
            raise no_start(error) from error
        slot.preparing, slot.idle_since, self._failed_starts = None, time.monotonic(), 0
        _log.info("worker ready", extra={"worker": slot.label})
        return [] if self._is_alike(slot) else self._refuse(slot)

    def _is_alike(self, slot: _Slot) -> bool:
        """One search is scored on one kind of device: others round differently."""
        assert slot.ready is not None
        device = slot.ready.versions.get("device", "")
        self._device = self._device or device
        return device == self._device or self._spec.workers.accelerator_type == ANY_ACCELERATOR

    def _refuse(self, slot: _Slot) -> list[Done]:
        """Let a worker on another kind of device go, for good."""
        assert slot.ready is not None
        device, task = slot.ready.versions.get("device", ""), slot.task
        _log.warning(
            "a worker on %s is not used beside those on %s: set workers.accelerator_type to one of "
            "them, or to any",
            *(device, self._device),
            extra={"worker": slot.label},
        )
        self._let_go(slot)
        self._pool.remove(slot)
        self._refused += 1
        problem = NodeLostError("the worker's node has another kind of device")
        return [] if task is None else [Done(task, problem)]

    def _count_failed_start(self, error: Exception, problem: CandidateError) -> None:
        """Raise once workers die one after the other while they start."""
        self._failed_starts += not isinstance(problem, NodeLostError)
        _log.warning("worker lost while it started: %s", problem.message)
        if self._failed_starts >= _MAX_FAILED_STARTS:
            raise no_start(error) from error

    def _finish(self, slot: _Slot) -> Done:
        task, reference = slot.task, slot.running
        assert task is not None
        slot.task, slot.running, slot.idle_since = None, None, time.monotonic()
        try:
            ray.get(reference)
        except RayTaskError as error:
            return Done(task, cause(error))
        except RayError as error:
            problem = loss(error)
            _log.warning("worker lost: %s", problem.message, extra={"worker": slot.label})
            self._replace(slot)
            return Done(task, problem)
        return Done(task)
