"""Workers as Ray actors: one engine each, replaced when they die."""

import os
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray
from ray._common.utils import get_default_system_temp_dir
from ray.exceptions import (
    GetTimeoutError,
    RayActorError,
    RayError,
    RayTaskError,
)
from ray.exceptions import (
    OutOfMemoryError as RayOutOfMemoryError,
)

from evomerge.dispatch.guardian import guarded_folder
from evomerge.errors import EngineError, EvomergeError, ResourceError, WorkerLostError
from evomerge.errors import OutOfMemoryError as CandidateOutOfMemory
from evomerge.spec import SearchSpec
from evomerge.worker import Done, Task, Worker

NAMESPACE = "evomerge"
_OBJECT_STORE_BYTES = 100 * 2**20
"""Recipes and results are small: the weights never pass through Ray's object store."""
_LOST = (RayActorError, RayOutOfMemoryError)
_MAX_FAILED_STARTS = 3


def connect(address: str | None, cpus: float | None = None) -> None:
    """Join the cluster at `address`, or start a local Ray with room for `cpus`.

    Does nothing inside a Ray worker. Raises ResourceError where the address does not answer.
    """
    if ray.is_initialized():
        return
    # A lost head is noticed in seconds instead of a minute.
    os.environ.setdefault("RAY_gcs_rpc_server_reconnect_timeout_s", "10")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_DEDUP_LOGS", "0")
    common: dict[str, Any] = {
        "namespace": NAMESPACE,
        "log_to_driver": False,
        "logging_level": "error",
    }
    try:
        if address is not None:
            _probe(address)
            ray.init(address=address, **common)
        else:
            # "local" ignores a cluster that happens to run on this machine, and RAY_ADDRESS.
            ray.init(
                address="local",
                _temp_dir=str(guarded_folder(Path(get_default_system_temp_dir()))),
                include_dashboard=False,
                num_cpus=max(int(cpus or 0), os.cpu_count() or 1),
                object_store_memory=_OBJECT_STORE_BYTES,
                **common,
            )
    except Exception as error:  # Ray raises a bare Exception where a node does not come up
        raise ResourceError(
            f"no Ray cluster answers ({_first_line(error)})",
            where=f"--address {address}" if address else "local Ray",
            remedy="start one with `ray start --head`, or leave --address out to run here",
        ) from error


def _probe(address: str) -> None:
    """Raise OSError where nothing listens: Ray itself would wait, and then end this process."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


class _WorkerActor:
    """The Ray side of a worker: opens its own store and starts its own engine."""

    def __init__(self, store_url: str, spec: SearchSpec) -> None:
        from evomerge.evaluation import make_evaluator
        from evomerge.store import open_store

        self._worker = Worker(open_store(store_url), lambda: make_evaluator(spec))

    def prepare(self) -> dict[str, str]:
        return self._worker.prepare()

    def run(self, task: Task) -> None:
        self._worker.run(task)

    def pid(self) -> int:
        return os.getpid()


@dataclass
class _Slot:
    """One actor and what it is doing: preparing, idle (both None), or running a task."""

    actor: Any
    preparing: Any = None
    running: Any = None
    task: Task | None = field(default=None)


class RayDispatcher:
    """A pool of worker actors.

    Args:
        spec: says how many workers, and what each one needs.
        store_url: a URL that every node can reach.
        address: an existing cluster; None starts a local Ray that ends with this process.
    """

    def __init__(self, spec: SearchSpec, store_url: str, address: str | None = None) -> None:
        self._spec, self._store_url, self._address = spec, store_url, address
        self._pool: list[_Slot] = []
        self._failed_starts = 0
        self._wanted = 0

    @property
    def slots(self) -> int:
        return min(self._wanted, sum(slot.preparing is None for slot in self._pool))

    def start(self) -> dict[str, str]:
        needs = self._spec.workers
        connect(self._address, needs.max * needs.cpus)
        self._check_resources()
        self._wanted = needs.max
        self._pool = [self._spawn() for _ in range(needs.max)]
        versions: dict[str, str] | None = None
        while versions is None:
            ready, _ = ray.wait([s.preparing for s in self._pool if s.preparing], timeout=1.0)
            for reference in ready:
                versions = self._prepared(reference) or versions
        return versions

    def resize(self, workers: int | None) -> None:
        self._wanted = workers or self._spec.workers.max
        surplus = max(0, len(self._pool) - self._wanted)
        for slot in [s for s in self._pool if s.task is None][:surplus]:
            ray.kill(slot.actor)
            self._pool.remove(slot)
        while len(self._pool) < self._wanted:
            self._pool.append(self._spawn())

    def submit(self, task: Task) -> None:
        slot = next(s for s in self._pool if s.preparing is None and s.task is None)
        slot.task, slot.running = task, slot.actor.run.remote(task)

    def wait(self, seconds: float) -> list[Done]:
        references = [r for s in self._pool for r in (s.running, s.preparing) if r is not None]
        try:
            ready, _ = ray.wait(references, timeout=seconds) if references else ([], [])
        except RayError as error:
            raise EngineError(
                f"the Ray cluster went away ({_first_line(error)})",
                remedy="nothing is lost: `evomerge resume` goes on where it stopped",
            ) from error
        done = []
        for reference in ready:
            slot = next((s for s in self._pool if s.running is reference), None)
            if slot is None:
                self._prepared(reference)
            else:
                done.append(self._finish(slot))
        return done

    def close(self) -> None:
        for slot in self._pool:
            ray.kill(slot.actor)
        self._pool = []

    def worker_pids(self) -> list[int]:
        """Process ids of the actors that answer within a second."""
        try:
            pids: list[int] = ray.get([slot.actor.pid.remote() for slot in self._pool], timeout=1.0)
        except (RayActorError, GetTimeoutError):
            return []
        return pids

    def _spawn(self) -> _Slot:
        needs = self._spec.workers
        threads = str(max(1, int(needs.cpus)))
        actor = (
            ray.remote(_WorkerActor)
            .options(
                num_cpus=needs.cpus,
                num_gpus=needs.gpus,
                runtime_env={"env_vars": {"OMP_NUM_THREADS": threads}},
            )
            .remote(self._store_url, self._spec)
        )
        return _Slot(actor, preparing=actor.prepare.remote())

    def _prepared(self, reference: Any) -> dict[str, str] | None:
        slot = next(s for s in self._pool if s.preparing is reference)
        try:
            versions: dict[str, str] = ray.get(reference)
        except _LOST as error:
            self._failed_starts += 1
            if self._failed_starts >= _MAX_FAILED_STARTS:
                raise EngineError(
                    f"workers die while their engine starts ({_first_line(error)})",
                    remedy="look at the worker's log in Ray's session folder; memory is often short",
                ) from error
            self._replace(slot)
            return None
        except RayTaskError as error:
            raise _cause(error) from error
        except RayError as error:
            raise EngineError(
                f"a worker cannot be started ({_first_line(error)})",
                remedy="look at the cluster with `ray status`",
            ) from error
        slot.preparing, self._failed_starts = None, 0
        return versions

    def _finish(self, slot: _Slot) -> Done:
        task = slot.task
        assert task is not None
        slot.task, reference, slot.running = None, slot.running, None
        try:
            ray.get(reference)
        except RayOutOfMemoryError as error:
            self._replace(slot)
            return Done(task, CandidateOutOfMemory(_first_line(error)))
        except RayActorError as error:
            self._replace(slot)
            return Done(task, WorkerLostError(_first_line(error)))
        except RayTaskError as error:
            return Done(task, _cause(error))
        except RayError as error:
            self._replace(slot)
            return Done(task, WorkerLostError(_first_line(error)))
        return Done(task)

    def _replace(self, slot: _Slot) -> None:
        ray.kill(slot.actor)
        self._pool[self._pool.index(slot)] = self._spawn()

    def _check_resources(self) -> None:
        has = ray.cluster_resources()
        needs = self._spec.workers
        for name, key, wanted in (("GPU", "GPU", needs.gpus), ("CPU", "CPU", needs.cpus)):
            if wanted > has.get(key, 0.0):
                raise ResourceError(
                    f"each worker asks for {wanted:g} {name}, the cluster has {has.get(key, 0.0):g}",
                    where=f"workers.{name.lower()}s",
                    remedy=f"ask for less, or run on a cluster with a {name}",
                )


def _cause(error: RayTaskError) -> EvomergeError:
    """The evomerge error that a worker raised, or an EngineError around anything else."""
    cause = error.cause
    if isinstance(cause, EvomergeError):
        return cause
    return EngineError(
        f"a worker failed: {type(cause).__name__}: {_first_line(cause)}",
        remedy="this is a fault in evomerge: please report it with the worker's log",
    )


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
