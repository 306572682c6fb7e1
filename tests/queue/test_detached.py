"""With a cluster, a server's controllers are actors there, and go on without it."""

from __future__ import annotations

import pytest

from evomerge.preflight import PreflightReport
from evomerge.queue.scheduler import Scheduler
from evomerge.queue.settings import QueueSettings
from evomerge.service import check_search, pause_search
from evomerge.spec import EngineSpec
from evomerge.store import open_store
from evomerge.store.types import SearchStatus
from tests.dispatch.nodes import Nodes
from tests.queue.conftest import Place, wait_until
from tests.support import fake_spec

SLOW = {"engine": EngineSpec(name="fake", fake_seconds=0.1)}


@pytest.fixture(scope="module")
def nodes():
    found = Nodes()
    found.add(4)
    yield found
    found.close()


def failed(place: Place, search_id: str) -> bool:
    return place.status(search_id) is SearchStatus.FAILED


@pytest.fixture
def checked(tmp_path) -> PreflightReport:
    # Long enough to be struck: a wish is heard within a second.
    return check_search(fake_spec(tmp_path / "models", budget={"candidates": 40}), here=False)


@pytest.mark.slow
def test_searches_run_as_actors_of_the_cluster_and_need_no_server_to_go_on(
    nodes, checked, tmp_path, postgres_url, monkeypatch
):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    place = Place(open_store(postgres_url), tmp_path, checked, [])
    first, second = place.submit("ada", changes=SLOW), place.submit("bob", changes=SLOW)
    settings = QueueSettings(address=nodes.address, running=1, poll=0.2)
    server = Scheduler(open_store(place.store.url), settings, tmp_path / "logs")
    server.start()
    wait_until(lambda: place.store.progress(first).candidates > 3 or failed(place, first), 120)
    assert not failed(place, first), place.store.search(first).message
    assert place.status(second) is SearchStatus.PENDING
    server.stop()
    before = place.store.progress(first).told
    wait_until(lambda: place.store.progress(first).told > before, 60)
    again = Scheduler(open_store(place.store.url), settings, tmp_path / "logs")
    again.start()
    wait_until(lambda: place.store.progress(second).candidates > 3, 180)
    assert place.status(first) is SearchStatus.FINISHED
    assert (place.started(first), place.started(second)) == (1, 1)
    pause_search(place.store, second)
    wait_until(lambda: place.status(second) is SearchStatus.PAUSED, 60)
    wait_until(lambda: not place.store.place(second).wanted, 60)
    again.stop()
    place.store.close()
