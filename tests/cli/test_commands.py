"""What each command prints, for people and for programs."""

import csv
import io
import json

import jsonschema
import pytest
from ruamel.yaml import YAML

from evomerge.cli.stores import store_at
from evomerge.merging.mergekit_yaml import parse_recipe
from evomerge.service import check_search, submit_search
from evomerge.spec import load_spec
from tests.cli.conftest import write_search


def test_run_prints_the_table_on_stdout_and_everything_else_on_stderr(evomerge, tmp_path):
    store = tmp_path / "s.db"
    done = evomerge("run", write_search(tmp_path), "--inline", "--store", store)
    assert done.code == 0
    assert "uniform average" in done.out
    assert "winner's lead" in done.out
    assert "The search" in done.out
    assert "baselines 9/9" in done.err


def test_run_says_its_id_and_how_to_resume_before_anything_else(evomerge, tmp_path):
    store = tmp_path / "s.db"
    file = write_search(tmp_path)
    done = evomerge("run", file, "--inline", "--store", store, "--search-id", "my-own")
    first = done.err.splitlines()[0]
    assert f"evomerge resume my-own --store {store} --inline" in first


def test_run_with_json_prints_one_json_value(evomerge, tmp_path):
    file = write_search(tmp_path)
    done = evomerge("run", file, "--inline", "--store", tmp_path / "s.db", "--format", "json")
    assert done.json["status"] == "finished"
    assert done.json["winner"]["fitness"]["low"] <= done.json["winner"]["fitness"]["value"]
    assert done.json["recipe"]["merge_method"] == "task_arithmetic"
    assert len(done.json["baselines"]) == 8


@pytest.mark.parametrize(
    "command",
    [
        ("status", "done-one"),
        ("list",),
        ("best",),
        ("query",),
        ("query", "progress"),
        ("db", "version"),
        ("watch", "done-one"),
    ],
    ids=" ".join,
)
def test_json_output_is_nothing_but_json(evomerge, finished, command):
    where = () if command == ("query",) else ("--store", finished.store)
    done = evomerge(*command, *where, "--format", "json")
    assert done.code == 0
    assert done.json


def test_status_counts_phases_and_names_versions(evomerge, finished):
    status = evomerge("status", "done", "--store", finished.store, "--format", "json").json
    assert status["done"] == {"baselines": 9, "search": 9, "validation": 5, "test": 9}
    assert status["versions"]["evomerge"]
    assert status["best_candidate"]
    assert "done-one" in evomerge("status", "tiny", "--store", finished.store).out


def test_list_shows_each_search(evomerge, finished):
    done = evomerge("list", "--store", finished.store)
    assert "done-one" in done.out
    assert "finished" in done.out


def test_watch_of_a_finished_search_ends_at_once_with_its_results(evomerge, finished):
    done = evomerge("watch", "done-one", "--store", finished.store)
    assert done.code == 0
    assert "test 9/9" in done.err
    assert "winner's lead" in done.out


def test_best_gives_mergekit_yaml_that_can_be_read_again(evomerge, finished):
    done = evomerge(
        *("best", "--search", "done-one", "-n", 2, "--store", finished.store, "--format", "yaml")
    )
    documents = list(YAML(typ="safe").load_all(done.out))
    assert len(documents) == 2
    assert parse_recipe(done.out.split("---\n")[0]).merge_method == documents[0]["merge_method"]


def test_best_ranks_by_task_and_split(evomerge, finished):
    options = ("--store", finished.store, "--format", "json")
    rows = evomerge("best", "--task", "alpha", *options).json
    values = [row["scores"]["alpha"] for row in rows]
    assert values == sorted(values, reverse=True)
    assert {r["split"] for r in evomerge("best", "--split", "test", *options).json} == {"test"}


def test_query_without_a_name_lists_what_there_is(evomerge):
    done = evomerge("query")
    assert "best_recipes" in done.out
    assert "costs" in done.out


def test_query_takes_parameters_and_writes_csv(evomerge, finished):
    done = evomerge(
        *("query", "task_scores", "-p", "search=done-one", "--format", "csv"),
        *("--store", finished.store),
    )
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert {"alpha", "beta"} == {row["task"] for row in rows}


def test_validate_accepts_a_good_file_and_writes_nothing(evomerge, tmp_path, monkeypatch):
    file = write_search(tmp_path)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    before = sorted(tmp_path.rglob("*"))
    assert evomerge("validate", file, "--format", "json").json["valid"] is True
    assert sorted(tmp_path.rglob("*")) == before


def test_validate_lists_problems_for_programs(evomerge, tmp_path):
    file = write_search(tmp_path, budget={"candidate": 3})
    done = evomerge("validate", file, "--format", "json")
    assert done.code == 2
    assert done.json["valid"] is False
    assert "candidates" in done.json["problems"][0]["remedy"]


def test_schema_accepts_a_search_file_and_refuses_a_misspelt_one(evomerge, tmp_path):
    schema = evomerge("schema").json
    content = json.loads(json.dumps(YAML(typ="safe").load(write_search(tmp_path))))
    jsonschema.validate(content, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**content, "bugdet": {}}, schema)


def test_doctor_reports_every_part_with_a_remedy_for_what_is_wrong(evomerge, finished):
    findings = evomerge("doctor", "--store", finished.store, "--format", "json").json
    assert {"Python", "torch", "GPU", "C++ compiler", "/dev/shm", "disk", "store"} <= {
        finding["what"] for finding in findings
    }
    assert all(f["remedy"] for f in findings if f["verdict"] != "OK")


def test_doctor_calls_an_unusable_store_a_problem(evomerge, tmp_path):
    (tmp_path / "no.db").write_text("this is no database, whatever its name says", "utf-8")
    done = evomerge("doctor", "--store", tmp_path / "no.db")
    assert done.code == 1
    assert "problem" in done.out


def test_pause_and_cancel_of_a_search_that_nobody_runs_are_facts_at_once(evomerge, tmp_path):
    store = ("--store", tmp_path / "s.db")
    with store_at(str(store[1]), create=True) as opened:
        checked = check_search(load_spec(write_search(tmp_path)), opened.url)
        waiting = submit_search(opened, checked).id
    assert evomerge("pause", waiting, *store, "--format", "json").json["status"] == "paused"
    assert evomerge("cancel", waiting, *store, "--format", "json").json["status"] == "cancelled"
    assert evomerge("resume", waiting, *store, "--inline").code == 2


def test_db_upgrade_makes_a_store_and_version_names_it(evomerge, tmp_path):
    store = tmp_path / "new.db"
    assert evomerge("db", "upgrade", "--store", store).code == 0
    assert evomerge("db", "version", "--store", store, "--format", "json").json["revision"]


def test_no_color_leaves_no_escape_codes(evomerge, finished, monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")
    done = evomerge("status", "done-one", "--store", finished.store)
    assert "\x1b" not in done.out + done.err
