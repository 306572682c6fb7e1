"""A user's mistakes: one screen, what is wrong and where, a remedy, exit code 2, nothing written."""

import pytest

from evomerge.cli import exits
from evomerge.errors import Problems, SpecError
from tests.cli.conftest import write_search

SCREEN = 24

MERGE = """\
merge_method: linear
models:
  - model: {model}
    parameters: {{weight: 1}}
"""


def files(folder):
    return sorted(str(path) for path in folder.rglob("*"))


def config(folder, text=MERGE):
    write_search(folder)
    file = folder / "merge.yml"
    file.write_text(text.format(model=folder / "x"), encoding="utf-8")
    return file


def full(folder):
    (folder / "out").mkdir()
    (folder / "out" / "mine.txt").write_text("keep me", encoding="utf-8")
    return folder / "out"


CASES = {
    "a search file that is not there": lambda f: ("run", f / "no.yml"),
    "a search file that is a folder": lambda f: ("run", f),
    "an unknown search": lambda f: ("status", "nope"),
    "an unknown search to resume": lambda f: ("resume", "nope"),
    "a finished search to resume": lambda f: ("resume", "done-one"),
    "a finished search to pause": lambda f: ("pause", "done-one"),
    "a finished search to cancel": lambda f: ("cancel", "done-one"),
    "an unknown search for best": lambda f: ("best", "--search", "nope"),
    "an unknown task for best": lambda f: ("best", "--task", "nope"),
    "an unknown split for best": lambda f: ("best", "--split", "exam"),
    "a limit of 0": lambda f: ("best", "--limit", "0"),
    "an unknown query": lambda f: ("query", "bset"),
    "a parameter that the query lacks": lambda f: ("query", "costs", "-p", "colour=red"),
    "a parameter without a value": lambda f: ("query", "costs", "-p", "search"),
    "a report into a folder that is not there": lambda f: (
        *("report", "done-one", "-o", f / "no" / "r.html"),
    ),
    "a report over a file that is no report": lambda f: (
        *("report", "done-one", "-o", full(f) / "mine.txt"),
    ),
    "a report of an unknown search": lambda f: ("report", "nope"),
    "an export into a folder that is not empty": lambda f: ("export", "done-one", full(f)),
    "an export of an unknown candidate": lambda f: ("export", "987654", f / "out"),
    "an export of a number that the search lacks": lambda f: ("export", "done-one:99", f / "out"),
    "an export of an unknown search": lambda f: ("export", "nope", f / "out"),
    "a soup of a file that is not there": lambda f: ("soup", f / "no.yml"),
    "a soup into a folder that is not empty": lambda f: (
        *("soup", write_search(f), "--out", full(f)),
    ),
    "a soup whose recipe would replace a file": lambda f: (
        *("soup", write_search(f), "--recipe", full(f) / "mine.txt"),
    ),
    "a soup whose recipe has no folder": lambda f: (
        *("soup", write_search(f), "--recipe", f / "no" / "r.yml"),
    ),
    "a recipe that is not there": lambda f: ("recipe", "show", f / "no.yml"),
    "a recipe of an unknown search": lambda f: ("recipe", "show", "nope"),
    "a recipe of a folder without one": lambda f: ("recipe", "show", f),
    "a recipe that is none": lambda f: ("recipe", "convert", full(f) / "mine.txt"),
    "a recipe written over a file": lambda f: (
        *("recipe", "convert", "done-one", "-o", full(f) / "mine.txt"),
    ),
    "a recipe as a table to read back": lambda f: (
        *("recipe", "convert", "done-one", "--format", "table"),
    ),
    "recipes that are not there": lambda f: ("recipe", "diff", f / "no.yml", "done-one"),
    "detaching without a cluster": lambda f: ("resume", "done-one", "--detach"),
    "an address that nobody answers": lambda f: ("submit", write_search(f), "--address", "no-port"),
    "an unknown command": lambda f: ("optimise",),
    "an unknown option": lambda f: ("list", "--colour"),
    "an unknown format": lambda f: ("list", "--format", "xml"),
}
MERGES = {
    "a configuration that is not there": lambda f: (f / "no.yml", f / "out"),
    "a configuration that is no YAML": lambda f: (config(f, "merge_method: [linear"), f / "out"),
    "an unknown method": lambda f: (config(f, MERGE.replace("linear", "linaer")), f / "out"),
    "a model that is not there": lambda f: (
        config(f, MERGE.replace("{model}", "{model}-gone")),
        f / "out",
    ),
    "an output folder that is not empty": lambda f: (config(f), full(f)),
    "a size that is none": lambda f: (config(f), f / "out", "--out-shard-size", "much"),
    "a device that is none": lambda f: (config(f), f / "out", "--device", "toaster"),
    "a GPU that is not there": lambda f: (config(f), f / "out", "--cuda"),
    "code from model folders": lambda f: (config(f), f / "out", "--trust-remote-code"),
    "pickles": lambda f: (config(f), f / "out", "--no-safe-serialization"),
    "a negative seed": lambda f: (config(f), f / "out", "--random-seed", "-1"),
    "another cache": lambda f: (config(f), f / "out", "--transformers-cache", f),
}
STORES = {
    "a store that is not there": lambda f: f / "no.db",
    "a store in a folder that is not there": lambda f: f / "no" / "s.db",
    "a store that is a folder": lambda f: f,
    "a store that is no database": lambda f: full(f) / "mine.txt",
    "a database of an unknown kind": lambda f: "mysql://host/name",
    "a server that is not there": lambda f: "postgresql://u:secret@127.0.0.1:1/db",
    "a URL that is none": lambda f: "postgresql://[",
}


def check(done, folder, before):
    assert done.code == 2, done.err
    assert done.out == ""
    assert "Traceback" not in done.err
    assert 0 < sum(1 + len(line) // 80 for line in done.err.splitlines()) <= SCREEN
    assert files(folder) == before


@pytest.mark.parametrize("case", CASES)
def test_a_mistake_in_arguments_is_explained(evomerge, finished, tmp_path, case, monkeypatch):
    monkeypatch.setenv("EVOMERGE_STORE", str(finished.store))
    arguments = CASES[case](tmp_path)
    before = files(tmp_path)
    check(evomerge(*arguments), tmp_path, before)


def test_an_id_that_is_taken_is_refused(evomerge, finished):
    done = evomerge(
        *("run", finished.file, "--inline", "--store", finished.store, "--search-id", "done-one")
    )
    assert done.code == 2
    assert "done-one" in done.err


@pytest.mark.parametrize("case", MERGES)
def test_a_mistake_in_a_merge_is_explained(evomerge, tmp_path, case):
    arguments = MERGES[case](tmp_path)
    before = files(tmp_path)
    check(evomerge("merge", *arguments), tmp_path, before)


@pytest.mark.parametrize("case", STORES)
def test_a_store_that_cannot_be_used_is_explained(evomerge, tmp_path, case):
    store = STORES[case](tmp_path)
    before = files(tmp_path)
    done = evomerge("list", "--store", store)
    check(done, tmp_path, before)
    assert "secret" not in done.err


def test_on_a_new_machine_reading_commands_say_how_a_store_comes_to_be(
    evomerge, tmp_path, monkeypatch
):
    monkeypatch.delenv("EVOMERGE_STORE", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    done = evomerge("list")
    assert done.code == 2
    assert "evomerge run" in done.err
    assert files(tmp_path) == []


def test_many_problems_fit_on_one_screen_and_say_how_many_are_left_out():
    problems = [SpecError("wrong " * 20, where="f.yml:1", remedy="mend it") for _ in range(40)]
    code, lines = exits.explain(Problems(problems))
    assert code == 2
    assert lines[0] == "40 problems:"
    assert sum(1 + len(line) // 80 for line in lines) <= SCREEN
    assert "more" in lines[-2]


def test_a_full_disk_is_the_users_to_mend():
    code, lines = exits.explain(OSError(28, "No space left on device", "/x/y"))
    assert code == 2
    assert "/x/y" in lines[0]
    assert "free some space" in lines[1]


def test_a_fault_of_ours_keeps_its_traceback_and_says_where(evomerge, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("evomerge.spec.SearchSpec.model_json_schema", lambda: 1 / 0)
    done = evomerge("schema")
    assert done.code == 70
    assert "ZeroDivisionError" in done.err
    assert "Traceback" not in done.err
    (kept,) = (tmp_path / "evomerge" / "crashes").iterdir()
    assert str(kept) in done.err.replace("\n", "")
    assert "Traceback" in kept.read_text(encoding="utf-8")


def test_debug_shows_the_traceback(evomerge, monkeypatch):
    monkeypatch.setattr("evomerge.spec.SearchSpec.model_json_schema", lambda: 1 / 0)
    done = evomerge("schema", "--debug")
    assert done.code == 70
    assert "Traceback" in done.err
