"""Searches on a Ray cluster of several nodes, which come and go, with the fake engine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import ray

from evomerge.controller.events import Scored
from evomerge.dispatch import ray_pool
from evomerge.dispatch.connection import connect
from evomerge.dispatch.detached import launch_controller
from evomerge.dispatch.ray_pool import RayDispatcher
from evomerge.errors import CheckpointError, ResourceError
from evomerge.service import (
    check_search,
    make_dispatcher,
    pause_search,
    run_search,
    submit_search,
)
from evomerge.staging import prints_in
from evomerge.store import open_store
from evomerge.store.types import SearchStatus
from tests.dispatch.nodes import Nodes
from tests.support import fake_spec, history, write_checkpoint

SLOW = {"name": "fake", "fake_seconds": 0.25}


@pytest.fixture(scope="module")
def nodes() -> Iterator[Nodes]:
    made = Nodes()
    connect(made.address)
    try:
        yield made
    finally:
        ray.shutdown()
        made.close()


@pytest.fixture(autouse=True)
def _nodes_go_with_their_test(nodes: Nodes) -> Iterator[None]:
    yield
    for node in nodes.workers():
        nodes.remove(node)


class Search:
    """One search on the cluster, run by a thread of the test."""

    def __init__(self, nodes: Nodes, folder: Path, name: str = "search", **changes: object) -> None:
        self.store = open_store(str(folder / f"{name}.db"))
        spec = fake_spec(folder, **{"engine": SLOW, **changes})
        self.record = submit_search(self.store, check_search(spec, here=False))
        prints = prints_in(self.record.versions)
        self.dispatcher = RayDispatcher(
            self.record.spec, self.store.url, nodes.address, prints=prints
        )
        self.scored = 0
        self.error: Exception | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            run_search(self.store, self.record.id, self.dispatcher, self._count)
        except Exception as error:
            self.error = error
        finally:
            self.dispatcher.close()

    def _count(self, event: object) -> None:
        self.scored += isinstance(event, Scored)

    def wait_for(self, condition: Callable[[], bool], seconds: float = 90) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self._thread.is_alive(), self.error
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def end(self) -> list[tuple[object, ...]]:
        self._thread.join(180)
        assert self.error is None
        assert self.store.search(self.record.id).status is SearchStatus.FINISHED
        return history(self.store, self.record.id)


def undisturbed(folder: Path, **changes: object) -> list[tuple[object, ...]]:
    """The history of the same search, on one worker in this process."""
    store = open_store(str(folder / "undisturbed.db"))
    search = submit_search(store, check_search(fake_spec(folder, **changes)))
    run_search(store, search.id, make_dispatcher(search.spec, store.url, inline=True))
    return history(store, search.id)


def node_of(dispatcher: RayDispatcher) -> set[str]:
    return {slot.ready.node for slot in dispatcher._pool if slot.ready is not None}


def test_a_node_that_vanishes_costs_no_candidate_a_try_and_changes_no_history(nodes, tmp_path):
    nodes.add(1)
    spot = nodes.add(1)
    search = Search(nodes, tmp_path, workers={"max": 2, "attempts": 1})
    search.wait_for(lambda: search.dispatcher.slots == 2 and search.scored >= 3)
    nodes.remove(spot)
    assert search.end() == undisturbed(tmp_path)
    store, search_id = search.store, search.record.id
    tries = [a for e in store.evaluations(search_id) for a in store.attempts(e.id)]
    lost = [attempt.error_type for attempt in tries if attempt.status == "lost"]
    assert lost == ["NodeLostError"]
    assert sum(e.failures for e in store.evaluations(search_id)) == 0


@pytest.mark.slow
def test_a_node_that_joins_takes_work_and_changes_no_history(nodes, tmp_path):
    nodes.add(1)
    search = Search(nodes, tmp_path, workers={"max": 2})
    search.wait_for(lambda: search.scored >= 2)
    assert search.dispatcher.slots == 1
    nodes.add(1)
    search.wait_for(lambda: len(node_of(search.dispatcher)) == 2)
    assert search.end() == undisturbed(tmp_path)
    workers = {
        attempt.worker.split()[0]
        for e in search.store.evaluations(search.record.id)
        for attempt in search.store.attempts(e.id)
    }
    assert len(workers) == 2


@pytest.mark.slow
def test_two_searches_share_a_cluster_and_find_what_each_finds_alone(nodes, tmp_path):
    nodes.add(2)
    first = Search(nodes, tmp_path, "first")
    second = Search(
        nodes, tmp_path, "second", strategy={"name": "cma", "seed": 8, "asynchronous": False}
    )
    assert first.end() == undisturbed(tmp_path)
    assert second.end() != first.end()


@pytest.mark.slow
def test_models_are_brought_to_each_node_once_and_other_ones_are_refused(nodes, tmp_path):
    folders = [tmp_path / "node-1", tmp_path / "node-2"]
    for folder in folders:
        nodes.add(2, folder)
    spec = fake_spec(tmp_path / "models", workers={"max": 4, "stage": "always"})
    prints = prints_in(check_search(spec).versions)
    dispatcher = RayDispatcher(spec, str(tmp_path / "s.db"), nodes.address, prints=prints)
    open_store(str(tmp_path / "s.db")).close()
    dispatcher.start()
    deadline = time.monotonic() + 90
    while dispatcher.slots < 4 and time.monotonic() < deadline:
        dispatcher.wait(0.5)
    for folder in folders:
        copies = {entry.name for entry in folder.iterdir() if entry.is_dir()}
        assert copies == set(prints.values())
    dispatcher.close()
    write_checkpoint(tmp_path / "models" / "y", seed=99)
    changed = RayDispatcher(
        spec.model_copy(update={"workers": spec.workers.model_copy(update={"stage": "never"})}),
        *(str(tmp_path / "s.db"), nodes.address),
        prints=prints,
    )
    with pytest.raises(CheckpointError, match="not the model that the search was submitted with"):
        changed.start()
    changed.close()


@pytest.mark.slow
def test_workers_go_to_the_type_of_accelerator_that_the_search_names(nodes, tmp_path):
    nodes.add(1, **{"accelerator_type:A100": 1})
    nodes.add(1, **{"accelerator_type:H100": 1})
    search = Search(nodes, tmp_path, workers={"max": 2, "accelerator_type": "H100"})
    search.wait_for(lambda: search.scored >= 1)
    (used,) = node_of(search.dispatcher)
    (h100,) = [
        n["NodeID"] for n in ray.nodes() if n["Alive"] and "accelerator_type:H100" in n["Resources"]
    ]
    assert used == h100
    search.end()


@pytest.mark.slow
def test_an_engine_of_several_ranks_gets_one_node_and_its_next_worker_the_same_place(
    nodes, tmp_path
):
    nodes.add(1)
    nodes.add(1)
    wide = {"engine": {**SLOW, "tensor_parallel_size": 2}, "workers": {"cpus": 2}}
    with pytest.raises(
        ResourceError, match="asks for 2 CPU, no node of the cluster has more than 1"
    ):
        RayDispatcher(fake_spec(tmp_path, **wide), "unused", nodes.address).start()
    nodes.add(2)
    search = Search(nodes, tmp_path, **wide)
    search.wait_for(lambda: search.scored >= 1)
    (slot,) = search.dispatcher._pool
    place, group = slot.ready.node, slot.group
    assert group.bundle_specs == [{"CPU": 2.0}]
    ray.kill(slot.actor)
    search.wait_for(lambda: slot.ready is None)
    search.wait_for(lambda: slot.ready is not None)
    assert (slot.ready.node, slot.group) == (place, group)
    search.end()


def test_a_search_that_waits_for_a_cluster_to_grow_asks_for_nodes_and_can_be_paused(
    nodes, tmp_path, monkeypatch
):
    monkeypatch.setattr(ray_pool, "_PATIENCE_AT_START", 2.0)
    search = Search(nodes, tmp_path, workers={"max": 2, "autoscale": True})
    search.wait_for(lambda: demand(nodes) == 2)
    pause_search(search.store, search.record.id)
    search._thread.join(60)
    assert search.store.search(search.record.id).status is SearchStatus.PAUSED
    assert search.error is None


def demand(nodes: Nodes) -> int:
    """Actors that wait for room: what Ray's autoscaler reads to start nodes."""
    from ray._raylet import GcsClient
    from ray.core.generated.autoscaler_pb2 import GetClusterResourceStateReply

    reply = GetClusterResourceStateReply()
    reply.ParseFromString(GcsClient(address=nodes.address).get_cluster_resource_state())
    return sum(request.count for request in reply.cluster_resource_state.pending_resource_requests)


@pytest.mark.slow
def test_workers_without_work_are_given_back_and_come_again_with_it(nodes, tmp_path):
    nodes.add(2)
    url = str(tmp_path / "s.db")
    open_store(url).close()
    spec = fake_spec(tmp_path, workers={"max": 2, "idle_minutes": 0.02})
    dispatcher = RayDispatcher(spec, url, nodes.address)
    dispatcher.start()
    deadline = time.monotonic() + 60
    while ray.available_resources().get("CPU", 0) < 2 or dispatcher.slots < 2:
        assert time.monotonic() < deadline
        dispatcher.wait(0.2)
    assert node_of(dispatcher) == set()
    dispatcher.close()
    search = Search(nodes, tmp_path, workers={"max": 3, "cpus": 0.5, "idle_minutes": 0.005})
    assert search.end() == undisturbed(tmp_path)


def test_a_node_with_another_version_of_evomerge_is_refused_with_a_remedy(
    nodes, tmp_path, monkeypatch
):
    nodes.add(1)
    monkeypatch.setattr(ray_pool, "__version__", "9.9.9")
    dispatcher = RayDispatcher(fake_spec(tmp_path), str(tmp_path / "s.db"), nodes.address)
    with pytest.raises(ResourceError, match=r"controlled by 9\.9\.9(.|\n)*workers\.runtime_env"):
        dispatcher.start()
    dispatcher.close()


@pytest.mark.slow
def test_a_runtime_environment_reaches_the_workers_and_a_broken_one_is_named(nodes, tmp_path):
    nodes.add(1)
    models = tmp_path / "elsewhere"
    env = {"env_vars": {"EVOMERGE_MODELS": str(models)}}
    search = Search(nodes, tmp_path, workers={"stage": "always", "runtime_env": env})
    search.end()
    assert len([entry for entry in models.iterdir() if entry.is_dir()]) == 4
    broken = {"runtime_env": {"working_dir": "file:///does/not/exist.zip"}}
    dispatcher = RayDispatcher(fake_spec(tmp_path, workers=broken), "unused", nodes.address)
    with pytest.raises(ResourceError, match="runtime environment"):
        dispatcher.start()
    dispatcher.close()


@pytest.mark.slow
def test_a_controller_whose_node_vanishes_goes_on_elsewhere(nodes, tmp_path, postgres_url):
    nodes.add(1)
    spot = nodes.add(1)
    (place,) = [
        n["NodeID"] for n in ray.nodes() if n["Alive"] and n["NodeManagerAddress"] == spot.address
    ]
    store = open_store(postgres_url)
    spec = fake_spec(tmp_path, engine=SLOW, workers={"max": 1})
    search = submit_search(store, check_search(spec, here=False))
    actor = launch_controller(store.url, search.id, nodes.address, search.spec, node=place)
    assert ray.get(actor.where.remote())[0] == place
    deadline = time.monotonic() + 150
    while sum(e.fitness is not None for e in store.evaluations(search.id)) < 3:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    nodes.remove(spot)
    while store.search(search.id).status is not SearchStatus.FINISHED:
        assert time.monotonic() < deadline, store.search(search.id)
        time.sleep(0.5)
    assert history(store, search.id) == undisturbed(tmp_path, workers={"max": 1})
    store.close()
