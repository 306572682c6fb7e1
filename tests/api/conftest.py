"""A server with people and one finished search, asked in this process or over a real socket."""

from __future__ import annotations

import socket
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from fastapi import FastAPI
from starlette.testclient import TestClient

from evomerge.api.app import make_app
from evomerge.api.settings import RateLimits, ServerSettings
from evomerge.cli.exits import run
from evomerge.queue.settings import QueueSettings
from evomerge.store import SQLStore, open_store
from evomerge.store.access import Scope
from tests.cli.conftest import write_search

API = "/api/v1"
HOST = "http://127.0.0.1:8321"
PLENTY = RateLimits(rate=10_000, burst=100_000, failures=100_000)


@dataclass
class World:
    """A store that one server shows. ada has the finished search; tokens by owner and scope."""

    folder: Path
    url: str
    store: SQLStore
    file: Path
    finished: str
    tokens: dict[str, str] = field(default_factory=dict)

    def app(self, *, schedule: bool = False, **changes: Any) -> FastAPI:
        settings = {
            "model_folders": (self.folder / "models",),
            "export_folder": self.folder / "exports",
            "log_folder": self.folder / "logs",
            "rates": PLENTY,
            "queue": QueueSettings(inline=True, poll=0.1),
        }
        return make_app(self.url, ServerSettings(**{**settings, **changes}), schedule=schedule)

    @contextmanager
    def client(
        self, who: str | None = "ada submit", *, schedule: bool = False, **changes: Any
    ) -> Iterator[TestClient]:
        """As if from this machine; `who`: owner and scope, None: without a token."""
        headers = {} if who is None else {"Authorization": f"Bearer {self.token(who)}"}
        app = self.app(schedule=schedule, **changes)
        with TestClient(
            app,
            base_url=HOST,
            headers=headers,
            client=("127.0.0.1", 50000),
            raise_server_exceptions=False,
        ) as client:
            yield client

    def token(self, who: str) -> str:
        if who not in self.tokens:
            owner, scope = who.split()
            self.tokens[who], _ = self.store.create_token(owner, Scope(scope))
        return self.tokens[who]


@pytest.fixture(scope="session")
def finished_store(tmp_path_factory) -> tuple[Path, str]:
    """A folder with models, a search file and a store whose one search is finished."""
    folder = tmp_path_factory.mktemp("served")
    (folder / "models").mkdir()
    file, store = write_search(folder / "models"), folder / "store.db"
    code = run(["run", str(file), "--inline", "--store", str(store), "--search-id", "done-one"])
    assert code == 0
    return folder, "done-one"


@pytest.fixture
def world(finished_store, tmp_path) -> Iterator[World]:
    source, search = finished_store
    folder = tmp_path / "world"
    folder.mkdir()
    # The models stay where they are: the stored search names them there.
    (folder / "models").symlink_to(source / "models")
    with (
        closing(sqlite3.connect(source / "store.db")) as original,
        closing(sqlite3.connect(folder / "store.db")) as copy,
    ):
        original.backup(copy)
    store = open_store(folder / "store.db")
    store.adopt(search, "ada")
    store.set_wanted(search, False)
    yield World(folder, str(folder / "store.db"), store, source / "models" / "search.yml", search)
    store.close()


@contextmanager
def serving(app: FastAPI) -> Iterator[str]:
    """The application on a free port of this machine; its URL."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    config = uvicorn.Config(
        app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started:
        assert time.monotonic() < deadline, "the server does not start"
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(30)
