"""A controller that lives on the cluster: a detached actor, so that the client may go away."""

import os
import threading
import time
from typing import Any

import ray

from evomerge.dispatch.ray_pool import NAMESPACE, RayDispatcher, connect
from evomerge.errors import LeaseLostError
from evomerge.store.types import SearchStatus

_LEASE_PATIENCE = 45.0


def actor_name(search_id: str) -> str:
    """The name under which a search's controller can be found on the cluster."""
    return f"evomerge-{search_id}"


class _ControllerActor:
    """Runs one search. Restarted by Ray on another node, it resumes from the store."""

    def __init__(self, store_url: str, search_id: str) -> None:
        self._thread = threading.Thread(target=self._run, args=(store_url, search_id), daemon=True)
        self._thread.start()

    def _run(self, store_url: str, search_id: str) -> None:
        try:
            _run_to_its_end(store_url, search_id)
        finally:
            ray.kill(ray.get_runtime_context().current_actor)

    def pid(self) -> int:
        return os.getpid()


def _run_to_its_end(store_url: str, search_id: str) -> None:
    """Run a search; what stops it is written into the store, where its user looks."""
    from evomerge.service import run_search
    from evomerge.store import open_store

    store = open_store(store_url)
    dispatcher = RayDispatcher(store.search(search_id).spec, store_url)
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
        store.set_status(search_id, SearchStatus.FAILED, message=str(error))
        raise
    finally:
        dispatcher.close()


def launch_controller(store_url: str, search_id: str, address: str) -> Any:
    """Start the controller of a search on the cluster at `address`; returns its actor handle."""
    connect(address)
    actor = (
        ray.remote(_ControllerActor)
        .options(
            name=actor_name(search_id),
            namespace=NAMESPACE,
            lifetime="detached",
            get_if_exists=True,
            num_cpus=0,
            max_restarts=-1,
        )
        .remote(store_url, search_id)
    )
    ray.get(actor.pid.remote(), timeout=120)
    return actor


def nodes() -> int:
    """How many nodes of the cluster are alive."""
    return sum(bool(node["Alive"]) for node in ray.nodes())
