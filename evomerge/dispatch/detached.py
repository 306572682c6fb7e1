"""A controller that lives on the cluster: a detached actor, so that the client may go away.

It is put on the head if that can be, which outlives the nodes that come and go. Where its own node
vanishes Ray starts it again on another one, and it goes on from the store as any resumed search does.
"""

import logging
import os
import threading
import time
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from evomerge.dispatch.connection import NAMESPACE, connect
from evomerge.dispatch.placing import runtime_env
from evomerge.dispatch.ray_pool import RayDispatcher
from evomerge.errors import LeaseLostError
from evomerge.spec import SearchSpec
from evomerge.staging import prints_in
from evomerge.store.types import SearchStatus

_LEASE_PATIENCE = 45.0
_MEMORY_BYTES = 256 * 2**20
_HEAD = "node:__internal_head__"
_log = logging.getLogger("evomerge.dispatch")


def actor_name(search_id: str) -> str:
    """The name under which a search's controller can be found on the cluster."""
    return f"evomerge-{search_id}"


class _ControllerActor:
    """Runs one search. Restarted by Ray on another node, it resumes from the store."""

    def __init__(self, store_url: str, search_id: str) -> None:
        run = threading.Thread(target=self._run, args=(store_url, search_id), daemon=True)
        run.start()

    def _run(self, store_url: str, search_id: str) -> None:
        try:
            _run_to_its_end(store_url, search_id)
        finally:
            ray.kill(ray.get_runtime_context().current_actor)

    def where(self) -> tuple[str, int]:
        """Ray's id of its node, and its process id."""
        return ray.get_runtime_context().get_node_id(), os.getpid()


def _run_to_its_end(store_url: str, search_id: str) -> None:
    """Run a search; what stops it is written into the store, where its user looks."""
    from evomerge.service import had_workers, run_search
    from evomerge.store import open_store
    from evomerge.telemetry.logs import configure_logs, wanted

    if wanted():
        configure_logs()
    store = open_store(store_url)
    search = store.search(search_id)
    prints, resumed = prints_in(search.versions), had_workers(store, search_id)
    dispatcher = RayDispatcher(search.spec, store_url, prints=prints, resumed=resumed)
    deadline = time.monotonic() + _LEASE_PATIENCE
    try:
        while True:
            try:
                run_search(store, search_id, dispatcher)
                return
            except LeaseLostError:
                # After the loss of a node its controller's lease has to run out first.
                if time.monotonic() > deadline:
                    raise
                time.sleep(1.0)
    except LeaseLostError:
        return  # another controller works on it: that one's word counts
    except Exception as error:
        _log.exception("the search failed", extra={"search": search_id})
        store.set_status(search_id, SearchStatus.FAILED, message=str(error))
        raise
    finally:
        dispatcher.close()


def launch_controller(
    store_url: str,
    search_id: str,
    address: str,
    spec: SearchSpec,
    *,
    node: str | None = None,
) -> Any:
    """Start the controller of a search on the cluster at `address`; returns its actor handle.

    Args:
        spec: of the search; its runtime environment is the controller's too.
        node: Ray's id of the node to live on, if that can be; the head if not given.
    """
    connect(address)
    wanted = node or _head()
    soft = None if wanted is None else NodeAffinitySchedulingStrategy(wanted, soft=True)
    actor = (
        ray.remote(_ControllerActor)
        .options(
            name=actor_name(search_id),
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            memory=_MEMORY_BYTES,  # without any resource Ray would not look where it is wanted
            max_restarts=-1,
            runtime_env=runtime_env(spec.workers, threads=False),
            scheduling_strategy=soft,
        )
        .remote(store_url, search_id)
    )
    ray.get(actor.where.remote(), timeout=120)
    return actor


def nodes() -> int:
    """How many nodes of the cluster are alive."""
    return sum(bool(node["Alive"]) for node in ray.nodes())


def _head() -> str | None:
    """Ray's id of the cluster's head; None where it has gone."""
    alive = [node for node in ray.nodes() if node["Alive"]]
    return next((str(one["NodeID"]) for one in alive if _HEAD in one["Resources"]), None)
