"""Outcomes go into files and come back, bit for bit; everything else works without them."""

from __future__ import annotations

import gzip
import hashlib
import json

import pytest

from evomerge.errors import StoreError
from evomerge.fitness import Split
from evomerge.results import read_results
from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.store import archive as module
from evomerge.store import open_store
from evomerge.store.archive import archive, restore
from evomerge.store.types import SearchStatus
from tests.support import fake_spec


@pytest.fixture
def store(any_url):
    opened = open_store(any_url)
    yield opened
    opened.close()


def searched(store, folder, name="one", **changes):
    spec = fake_spec(folder, racing={"enabled": True}, **changes)
    search = submit_search(store, check_search(spec), search_id=name)
    run_search(store, search.id, make_dispatcher(search.spec, store.url, inline=True))
    return search


def all_outcomes(store, search_id):
    return {
        evaluation.id: [
            (one.task, one.doc_ids, {m: v.tobytes() for m, v in one.values.items()})
            for one in store.outcomes(evaluation.id)
        ]
        for evaluation in store.evaluations(search_id)
    }


def test_outcomes_leave_come_back_bit_for_bit_and_results_work_without(store, tmp_path):
    search = searched(store, tmp_path)
    before = all_outcomes(store, search.id)
    shown = read_results(store, search)
    (moved,) = archive(store, tmp_path / "archives", days=0)
    assert moved.outcomes == len(list(module._read(moved.file))) > 0
    assert set(map(len, all_outcomes(store, search.id).values())) == {0}
    without = read_results(store, search)
    assert [row.label for row in without.rows] == [row.label for row in shown.rows]
    assert [row.fitness.value for row in without.rows] == [row.fitness.value for row in shown.rows]
    assert store.best(search_id=search.id)
    restore(store, moved.file)
    assert all_outcomes(store, search.id) == before
    assert store.archives() == []


def test_a_file_has_a_checksum_that_sha256sum_reads(store, tmp_path):
    searched(store, tmp_path)
    (moved,) = archive(store, tmp_path / "archives", days=0)
    note = moved.file.with_name(f"{moved.file.name}.sha256").read_text(encoding="ascii")
    digest, name = note.split()
    assert (digest, name) == (hashlib.sha256(moved.file.read_bytes()).hexdigest(), moved.file.name)
    with gzip.open(moved.file, "rt") as stream:
        assert json.loads(next(stream)) == {"evomerge_outcomes": 1, "search": "one"}


def test_only_searches_that_ended_long_enough_ago_are_archived(store, tmp_path):
    searched(store, tmp_path)
    assert list(archive(store, tmp_path / "archives", days=1)) == []
    submit_search(store, check_search(fake_spec(tmp_path)), search_id="open")
    assert [one.search_id for one in archive(store, tmp_path / "archives", days=0)] == ["one"]


def test_nobody_follows_an_archived_evaluation_and_an_open_follower_keeps_what_it_follows(
    store, tmp_path
):
    searched(store, tmp_path)
    other = submit_search(store, check_search(fake_spec(tmp_path)), search_id="two")
    run_search(store, other.id, make_dispatcher(other.spec, store.url, inline=True))
    assert any(e.copied_from for e in store.evaluations("two"))
    store.set_status("two", SearchStatus.FAILED)
    (kept,) = archive(store, tmp_path / "archives", days=0)
    assert (kept.search_id, kept.outcomes, "search two is open" in kept.reason) == ("one", 0, True)
    assert list((tmp_path / "archives").iterdir()) == []
    store.set_status("two", SearchStatus.CANCELLED)
    assert {one.search_id for one in archive(store, tmp_path / "archives", days=0)} >= {"one"}
    searched(store, tmp_path, "three", strategy={"name": "cma", "seed": 7, "asynchronous": False})
    first = {e.id for e in store.evaluations("one")}
    followed = {e.copied_from for e in store.evaluations("three", Split.SEARCH)}
    assert not followed & first


def test_a_run_that_was_broken_off_is_finished_by_the_next(store, tmp_path, monkeypatch):
    search = searched(store, tmp_path)
    before = all_outcomes(store, search.id)
    monkeypatch.setattr(module, "_BATCH", 4)
    delete, calls = store.delete_outcomes, []

    def break_off(search_id, limit):
        calls.append(delete(search_id, limit))
        raise KeyboardInterrupt

    monkeypatch.setattr(store, "delete_outcomes", break_off)
    with pytest.raises(KeyboardInterrupt):
        list(archive(store, tmp_path / "archives", days=0))
    monkeypatch.setattr(store, "delete_outcomes", delete)
    (record,) = store.archives()
    assert record.deleted_at is None
    (rest,) = archive(store, tmp_path / "elsewhere", days=0)
    assert rest.outcomes + calls[0] == record.outcomes
    assert store.archives()[0].deleted_at is not None
    restore(store, rest.file)
    assert all_outcomes(store, search.id) == before


def test_a_damaged_archive_is_refused_and_nothing_is_deleted_before_it_is_verified(
    store, tmp_path, monkeypatch
):
    search = searched(store, tmp_path)
    before = all_outcomes(store, search.id)
    monkeypatch.setattr(module, "_read", lambda file: iter(()))
    with pytest.raises(StoreError, match="nothing was deleted"):
        list(archive(store, tmp_path / "archives", days=0))
    assert all_outcomes(store, search.id) == before
    monkeypatch.undo()
    (moved,) = archive(store, tmp_path / "archives", days=0)
    content = bytearray(moved.file.read_bytes())
    content[len(content) // 2] ^= 1
    moved.file.write_bytes(content)
    with pytest.raises(StoreError, match="damaged"):
        restore(store, moved.file)


def test_an_archive_of_another_store_is_refused(store, tmp_path, sqlite_url):
    searched(store, tmp_path)
    (moved,) = archive(store, tmp_path / "archives", days=0)
    other = open_store(str(tmp_path / "other.db"))
    with pytest.raises(Exception, match="no archive"):
        restore(other, moved.file)
    other.close()
