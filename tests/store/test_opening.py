"""Opening a store: where it is, and what is said where it cannot be used."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from evomerge.errors import StoreError
from evomerge.store import current_revision, migrate, open_store, upgrade
from evomerge.store.schema import REVISIONS, VERSION_TABLE
from evomerge.testing.store_conformance.samples import hold, make_spec


def _refusal(url: str, **options) -> StoreError:
    with pytest.raises(StoreError) as caught:
        open_store(url, **options)
    assert caught.value.remedy
    assert "Traceback" not in str(caught.value)
    return caught.value


def _set_revision(url: str, revision: str) -> None:
    open_store(url).close()
    with sqlite3.connect(url) as connection:
        connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = ?", (revision,))
    connection.close()


def test_without_a_name_the_store_lies_in_the_data_folder(tmp_path, monkeypatch):
    monkeypatch.delenv("EVOMERGE_STORE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    store = open_store()
    assert store.folder == tmp_path / "evomerge"
    assert (tmp_path / "evomerge" / "evomerge.db").is_file()


def test_the_environment_names_a_store_and_an_argument_wins(tmp_path, monkeypatch):
    monkeypatch.setenv("EVOMERGE_STORE", f"sqlite:///{tmp_path}/a.db")
    open_store().close()
    open_store(tmp_path / "b.db").close()
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["a.db", "b.db"]


def test_a_store_is_opened_again_by_its_url_with_everything_in_it(any_url):
    store = open_store(any_url)
    search = store.create_search(make_spec(), scope="", versions={})
    store.close()
    again = open_store(store.url, create=False)
    assert again.search(search.id) == search
    again.close()


def test_sqlite_is_durable_and_lets_readers_and_writers_work_at_once(sqlite_url):
    store = open_store(sqlite_url)
    with store._engine.connect() as db:
        pragma = {
            name: db.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    assert pragma == {
        "journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30000,
    }  # fmt: skip
    store.close()


def test_the_store_needs_no_engine():
    code = (
        "import sys, evomerge.store; "
        "assert not {'torch', 'ray', 'vllm', 'transformers', 'alembic'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_missing_store_is_not_made_where_only_reading_was_meant(tmp_path, postgres_url):
    path = tmp_path / "none.db"
    assert "no store" in _refusal(str(path), create=False).message
    assert not path.exists()
    assert "no evomerge store" in _refusal(postgres_url, create=False).message


def test_a_missing_folder_is_named(tmp_path):
    assert "mkdir -p" in str(_refusal(str(tmp_path / "no" / "store.db")).remedy)
    assert "folder" in _refusal(str(tmp_path)).message


def test_a_file_of_another_kind_is_left_alone(tmp_path):
    path = tmp_path / "notes.db"
    path.write_text("these are my notes, and no database\n" * 100)
    before = path.read_bytes()
    assert "no SQLite database" in _refusal(str(path)).message
    assert path.read_bytes() == before


def test_a_truncated_database_is_reported(tmp_path):
    path = tmp_path / "store.db"
    store = open_store(path)
    hold(store)
    store.close()
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(StoreError):
        open_store(path).searches()


def test_a_database_of_somebody_else_is_left_alone(tmp_path, postgres_url):
    path = tmp_path / "store.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE invoices (id)")
    connection.close()
    assert "invoices" in _refusal(str(path)).message
    with psycopg.connect(postgres_url) as other:
        other.execute("CREATE TABLE invoices (id int)")
    assert "invoices" in _refusal(postgres_url).message


def test_a_locked_database_is_reported_after_some_patience(sqlite_url):
    open_store(sqlite_url).close()
    other = sqlite3.connect(sqlite_url, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store = open_store(sqlite_url, patience=0.3)
    with pytest.raises(StoreError, match="locked by another process") as caught:
        store.create_search(make_spec(), scope="", versions={})
    assert caught.value.where == sqlite_url
    other.execute("ROLLBACK")
    store.create_search(make_spec(), scope="", versions={})
    store.close()


def test_a_locked_row_of_postgresql_is_reported_after_some_patience(postgres_url):
    store = open_store(postgres_url, patience=0.3)
    held = hold(store)
    with psycopg.connect(postgres_url) as other:
        other.execute("SELECT 1 FROM searches FOR UPDATE")
        with pytest.raises(StoreError, match="locked"):
            store.acquire_lease(held.id, held.owner, 60)
    store.close()


def test_a_lost_connection_is_made_again(postgres_url, postgres_server):
    store = open_store(postgres_url)
    hold(store)
    with psycopg.connect(postgres_server, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name = 'evomerge'"
        )
    assert len(store.searches()) == 1
    store.close()


def test_a_database_that_cannot_be_written_is_reported(sqlite_url):
    open_store(sqlite_url).close()
    store = open_store(f"sqlite:///file:{sqlite_url}?mode=ro&uri=true")
    with pytest.raises(StoreError, match="cannot be written"):
        store.create_search(make_spec(), scope="", versions={})
    store.close()


def test_a_full_disk_is_reported_and_nothing_stored_is_lost(sqlite_url):
    store = open_store(sqlite_url)
    hold(store)
    with store._engine.connect() as db:
        pages = db.exec_driver_sql("PRAGMA page_count").scalar()
        db.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="no space left"):
        for _ in range(100):
            store.create_search(make_spec(), scope="", versions={})
    assert store.searches()
    store.close()


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("mysql://u@h/x", "mysql is not supported"),
        ("sqlite://", "in memory"),
        ("postgresql://h:port/x", "cannot read the database URL"),
        ("://", "cannot read the database URL"),
    ],
)
def test_a_url_that_means_nothing_is_refused(url, expected):
    assert expected in _refusal(url).message


def test_a_server_that_is_not_there_is_reported_without_the_password():
    error = _refusal("postgresql://me:secret@127.0.0.1:1/x")
    assert "no server listens there" in error.message
    assert "secret" not in str(error)
    assert "host is unknown" in _refusal("postgresql://nowhere.invalid/x").message


def test_a_database_or_user_that_the_server_does_not_know_is_reported(postgres_server):
    name, _, options = postgres_server.partition("?")
    missing = _refusal(f"{name.rsplit('/', 1)[0]}/nothing?{options}")
    assert "createdb" in str(missing.remedy)
    user = _refusal(f"postgresql://stranger:@/postgres?{options}")
    assert "user" in user.message


def test_a_newer_schema_is_refused(sqlite_url):
    _set_revision(sqlite_url, "9999")
    for opening in (open_store, upgrade):
        with pytest.raises(StoreError, match="newer than this version"):
            opening(sqlite_url)


def test_an_older_schema_is_not_upgraded_unasked(sqlite_url, monkeypatch):
    _set_revision(sqlite_url, "0000")
    monkeypatch.setattr(migrate, "REVISIONS", ("0000", *REVISIONS))
    assert "evomerge db upgrade" in str(_refusal(sqlite_url).remedy)
    assert current_revision(sqlite_url) == "0000"


def test_upgrade_makes_an_empty_database_a_store_and_changes_nothing_the_second_time(any_url):
    assert upgrade(any_url) == upgrade(any_url) == current_revision(any_url) == REVISIONS[-1]
    open_store(any_url, create=False).close()


def test_an_upgrade_that_fails_leaves_nothing(any_url, monkeypatch):
    from alembic import op

    monkeypatch.setattr(
        op, "create_index", lambda *a, **k: (_ for _ in ()).throw(KeyboardInterrupt)
    )
    with pytest.raises(KeyboardInterrupt):
        upgrade(any_url)
    monkeypatch.undo()
    assert upgrade(any_url) == REVISIONS[-1]


def test_paths_may_be_paths(tmp_path: Path):
    open_store(tmp_path / "store.db").close()
    open_store(str(tmp_path / "store.db"), create=False).close()


def test_a_network_that_swallows_packets_is_given_up_soon_unless_the_url_says_otherwise(
    postgres_url,
):
    mark = "&" if "?" in postgres_url else "?"
    for url, wanted in (
        (postgres_url, "30000"),
        (f"{postgres_url}{mark}tcp_user_timeout=9000", "9000"),
    ):
        store = open_store(url)
        with store._engine.connect() as connection:
            given = connection.connection.driver_connection.info.get_parameters()
        assert (given["tcp_user_timeout"], given["keepalives_idle"]) == (wanted, "10")
        store.close()
