"""Searches on real Ray workers, with the fake engine."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest
import ray

from evomerge.controller.events import Scored
from evomerge.dispatch import placing, ray_pool
from evomerge.dispatch.connection import connect
from evomerge.dispatch.ray_pool import RayDispatcher
from evomerge.errors import ResourceError
from evomerge.service import check_search, edit_search, run_search, submit_search
from evomerge.store import open_store
from evomerge.store.types import SearchStatus
from tests.support import fake_spec, history


@pytest.fixture(scope="module", autouse=True)
def _ray():
    connect(None, cpus=4)
    yield
    ray.shutdown()


def _run(folder: Path, name: str, spec) -> list[tuple[object, ...]]:
    store = open_store(str(folder / f"{name}.db"))
    search = submit_search(store, check_search(spec))
    dispatcher = RayDispatcher(search.spec, store.url)
    try:
        assert run_search(store, search.id, dispatcher) is SearchStatus.FINISHED
    finally:
        dispatcher.close()
    return history(store, search.id)


def test_one_and_two_workers_give_the_same_history(tmp_path):
    histories = [
        _run(tmp_path, f"workers-{count}", fake_spec(tmp_path, workers={"max": count}))
        for count in (1, 2)
    ]
    assert histories[0] == histories[1]


def test_a_worker_that_dies_is_replaced_and_its_candidate_retried(tmp_path):
    spec = fake_spec(tmp_path, workers={"max": 1}, engine={"name": "fake", "fake_seconds": 0.3})
    store = open_store(str(tmp_path / "rough.db"))
    search = submit_search(store, check_search(spec))
    dispatcher = RayDispatcher(search.spec, store.url)
    thread = threading.Thread(target=run_search, args=(store, search.id, dispatcher))
    thread.start()
    killed = 0
    while thread.is_alive() and killed < 2:
        time.sleep(2.0)
        for pid in dispatcher.worker_pids():
            os.kill(pid, signal.SIGKILL)
            killed += 1
    thread.join(120)
    dispatcher.close()
    assert killed == 2
    assert store.search(search.id).status is SearchStatus.FINISHED
    calm = _run(tmp_path, "calm", fake_spec(tmp_path, workers={"max": 1}))
    assert history(store, search.id) == calm


def test_more_than_the_cluster_has_is_refused_with_a_remedy(tmp_path):
    spec = fake_spec(tmp_path, workers={"cpus": 4096})
    with pytest.raises(ResourceError, match="4096 CPU"):
        RayDispatcher(spec, "unused").start()


def test_a_cluster_that_grows_is_trusted_with_more_than_it_has(tmp_path):
    placing.check_fits(fake_spec(tmp_path, workers={"cpus": 4096, "autoscale": True}).workers)


def test_a_search_that_had_workers_waits_for_the_node_that_is_away(tmp_path, monkeypatch):
    monkeypatch.setattr(ray_pool, "_PATIENCE_AT_START", 1.0)
    dispatcher = RayDispatcher(fake_spec(tmp_path, workers={"cpus": 4096}), "unused", resumed=True)
    assert dispatcher.start() == {}
    assert dispatcher.slots == 0
    dispatcher.close()


def test_workers_come_and_go_while_a_search_runs(tmp_path):
    """However long a worker takes to start: the budget ends the search once the second one was seen."""
    spec = fake_spec(
        tmp_path,
        strategy={"name": "random", "asynchronous": True},
        budget={"candidates": 1000},
        workers={"max": 1},
        engine={"name": "fake", "fake_seconds": 0.3},
    )
    store = open_store(str(tmp_path / "elastic.db"))
    search = submit_search(store, check_search(spec))
    dispatcher = RayDispatcher(search.spec, store.url)
    sizes: list[int] = []

    def watch(event: object) -> None:
        if not isinstance(event, Scored):
            return
        if len(sizes) == 12:
            edit_search(store, search.id, {}, 2)
        if dispatcher.slots == 2 and 2 not in sizes:
            edit_search(store, search.id, {"candidates": event.candidate.number + 12}, 1)
        sizes.append(dispatcher.slots)

    try:
        assert run_search(store, search.id, dispatcher, watch) is SearchStatus.FINISHED
        assert set(sizes) == {1, 2}
        assert dispatcher.slots == 1
    finally:
        dispatcher.close()
