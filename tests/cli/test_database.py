"""`db`: backups and archives from the command line."""

from __future__ import annotations

import pytest


def test_a_backup_is_written_and_restored_in_an_empty_place(evomerge, finished, tmp_path):
    copy, again = tmp_path / "copy.backup", tmp_path / "again.db"
    assert evomerge("db", "backup", copy, "--store", finished.store).code == 0
    assert evomerge("db", "restore", copy, "--store", again).code == 0
    before = evomerge("list", "--store", finished.store, "--format", "json").json
    assert evomerge("list", "--store", again, "--format", "json").json == before
    refused = evomerge("db", "restore", copy, "--store", again)
    assert (refused.code, "exists already" in refused.err) == (2, True)


def test_archives_are_made_listed_and_put_back(evomerge, finished, tmp_path):
    copy, again = tmp_path / "copy.backup", tmp_path / "again.db"
    evomerge("db", "backup", copy, "--store", finished.store)
    evomerge("db", "restore", copy, "--store", again)
    where = ("--store", again, "--format", "json")
    made = evomerge("db", "archive", "--to", tmp_path / "kept", "--older-than", "0h", *where).json
    assert [row["outcomes"] > 0 for row in made] == [True]
    (noted,) = evomerge("db", "archives", *where).json
    assert noted["file"] == made[0]["file"]
    back = evomerge("db", "unarchive", noted["file"], *where).json
    assert back[0]["outcomes"] == made[0]["outcomes"]
    assert evomerge("db", "archives", *where).json == []


@pytest.mark.parametrize("text", ["90", "d", "-1d", "soon"])
def test_a_time_that_is_none_is_a_mistake_with_a_remedy(evomerge, finished, tmp_path, text):
    given = ("--to", tmp_path, f"--older-than={text}", "--store", finished.store)
    done = evomerge("db", "archive", *given)
    assert (done.code, "90d, 12w or 36h" in done.err) == (2, True)
