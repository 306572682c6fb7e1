"""The Ray side of a worker: agrees on versions, brings the models to its node, starts its engine."""

import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ray

from evomerge import __version__
from evomerge.errors import ResourceError
from evomerge.spec import SearchSpec
from evomerge.telemetry.logs import configure_logs, wanted
from evomerge.worker import Task, Worker


@dataclass(frozen=True)
class Terms:
    """What a worker has to agree with before it scores anything.

    version: of evomerge, where the search is controlled. prints: for each model's part its
    fingerprint, where the search knows it.
    """

    version: str
    prints: Mapping[str, str]


@dataclass(frozen=True)
class Ready:
    """What a worker says of itself when it can score: versions, Ray's id of its node, host and pid."""

    versions: dict[str, str]
    node: str
    host: str
    pid: int


class _WorkerActor:
    """Does nothing until it is prepared, so that whatever goes wrong is raised by `prepare`."""

    def __init__(self, store_url: str, spec: SearchSpec, terms: Terms) -> None:
        self._store_url, self._spec, self._terms = store_url, spec, terms
        self._worker: Worker | None = None

    def prepare(self) -> Ready:
        """Raises ResourceError for another version, CheckpointError for other or missing models, and
        what the engine raises."""
        from evomerge.evaluation import make_evaluator
        from evomerge.hub import use_folders
        from evomerge.staging import stage_models
        from evomerge.store import open_store

        if wanted():
            configure_logs()
        check_version(self._terms.version)
        use_folders(stage_models(self._spec, self._terms.prints))
        spec = self._spec
        self._worker = Worker(open_store(self._store_url), lambda: make_evaluator(spec))
        node = ray.get_runtime_context().get_node_id()
        return Ready(self._worker.prepare(), node, socket.gethostname(), os.getpid())

    def run(self, task: Task) -> None:
        """Score a task and write the result."""
        assert self._worker is not None, "prepared first"
        self._worker.run(task)


def start_worker(options: Mapping[str, Any], store_url: str, spec: SearchSpec, terms: Terms) -> Any:
    """Ask Ray for a worker; its handle. It waits until there is room, and is not prepared yet."""
    return ray.remote(_WorkerActor).options(**options).remote(store_url, spec, terms)


def check_version(controller: str) -> None:
    """Raise ResourceError where this node has another evomerge than the search's controller."""
    if controller != __version__:
        raise ResourceError(
            f"evomerge {__version__} is installed here, the search is controlled by {controller}",
            where=f"node {socket.gethostname()}",
            remedy="install one version on all nodes (one image), or name it in workers.runtime_env: "
            f"{{pip: ['evomerge=={controller}']}}",
        )
