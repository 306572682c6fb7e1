"""One store of every kind of search for all tests of the pages, and who looks at them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from evomerge.api.app import make_app
from evomerge.api.settings import RateLimits, ServerSettings
from evomerge.store import SQLStore, open_store
from tests.dashboard.worlds import build

SETTINGS = ServerSettings(rates=RateLimits(rate=10_000, burst=10_000))
ADDRESS = "http://127.0.0.1:8321"


def client_of(store: SQLStore, settings: ServerSettings = SETTINGS) -> TestClient:
    """A browser of the local user, without the scheduler that a real server runs."""
    app = make_app(store.url, settings)
    return TestClient(
        app, base_url=ADDRESS, client=("127.0.0.1", 50_000), headers={"Accept": "text/html"}
    )


@pytest.fixture(scope="session")
def world(tmp_path_factory) -> Iterator[tuple[SQLStore, dict[str, str]]]:
    """A store with its searches by kind. Tests read it; whoever changes something makes its own."""
    folder = tmp_path_factory.mktemp("dashboard")
    store = open_store(folder / "s.db")
    yield store, build(store, folder / "models")
    store.close()


@pytest.fixture(scope="session")
def client(world) -> TestClient:
    return client_of(world[0])
