"""Searches in other trackers: the real TensorBoard, the real W&B (offline), and MLflow's client by contract.

MLflow cannot be installed beside what this project pins; a stand-in with the signatures of its client
takes its place, so what is tested there is what it is asked, and not what it does.
"""

from __future__ import annotations

import inspect
import math
import sys
import types
from pathlib import Path
from typing import ClassVar

import pytest

from evomerge.controller import wishes
from evomerge.errors import SpecError
from evomerge.fitness import Split
from evomerge.observe.sinks import VARIABLE, SinkListener, make_sinks
from evomerge.observe.sinks.listening import flat
from evomerge.service import check_search, make_dispatcher, pause_search, run_search, submit_search
from evomerge.store import open_store
from evomerge.store.types import SearchStatus
from tests.support import fake_spec


def run(store, search, listener=lambda event: None):
    dispatcher = make_dispatcher(search.spec, store.url, inline=True)
    return run_search(store, search.id, dispatcher, listener)


@pytest.fixture
def search(sqlite_url, tmp_path, monkeypatch):
    monkeypatch.setattr(
        wishes, "_POLL_SECONDS", 0.0
    )  # a pause is heard of before the fake has ended
    store = open_store(sqlite_url)
    yield store, submit_search(store, check_search(fake_spec(tmp_path)))
    store.close()


def read_events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    accumulator = EventAccumulator(str(folder))
    accumulator.Reload()
    tags = accumulator.Tags()["scalars"]
    return {tag: [(e.step, e.value) for e in accumulator.Scalars(tag)] for tag in tags}


def test_tensorboard_reads_back_every_candidate_once_although_the_search_was_interrupted(
    search, tmp_path, monkeypatch
):
    store, record = search
    monkeypatch.setenv(VARIABLE, f"tensorboard:{tmp_path / 'board'}")
    seen = []

    def pause_after_eight(event):
        seen.append(event)
        if len(seen) == 8:
            pause_search(store, record.id)

    assert run(store, record, pause_after_eight) is SearchStatus.PAUSED
    assert run(store, record) is SearchStatus.FINISHED
    found = read_events(tmp_path / "board" / record.id)
    evaluations = store.evaluations(record.id, Split.SEARCH)
    numbers = {c.id: c.number for c in store.candidates(record.id)}
    wanted = sorted((numbers[e.candidate_id], e.fitness) for e in evaluations)
    assert [step for step, _ in sorted(found["search/fitness"])] == [step for step, _ in wanted]
    for (_, shown), (_, fitness) in zip(sorted(found["search/fitness"]), wanted, strict=True):
        assert math.isclose(shown, fitness, rel_tol=1e-6)
    best = [value for _, value in sorted(found["search/best_fitness"])]
    assert math.isclose(best[-1], store.progress(record.id).best_fitness, rel_tol=1e-6)
    assert {"search/score/alpha", "search/seconds/forward", "test/fitness"} <= set(found)


def test_wandb_keeps_an_offline_run_under_the_search_s_id(search, tmp_path, monkeypatch):
    store, record = search
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.setenv(VARIABLE, "wandb:merges")
    assert run(store, record) is SearchStatus.FINISHED
    (kept,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert kept.stem == f"run-{record.id}"
    content = kept.read_bytes()
    assert b"search/best_fitness" in content
    assert b"budget" in content


class StandInMlflow:
    """`MlflowClient` as far as a sink uses it; the signatures are those of MLflow 3."""

    runs: ClassVar[dict[str, dict]] = {}

    def __init__(self, tracking_uri: str | None = None) -> None:
        self.tracking_uri = tracking_uri

    def get_experiment_by_name(self, name: str):
        return types.SimpleNamespace(experiment_id="7") if self.runs else None

    def create_experiment(self, name: str) -> str:
        return "7"

    def search_runs(self, experiment_ids: list[str], filter_string: str = ""):
        found = [key for key, one in self.runs.items() if one["tag"] in filter_string]
        return [types.SimpleNamespace(info=types.SimpleNamespace(run_id=key)) for key in found]

    def create_run(self, experiment_id: str, tags: dict | None = None, run_name: str | None = None):
        key = f"run-{len(self.runs)}"
        self.runs[key] = {"tag": tags["evomerge.search"], "metrics": [], "params": {}, "status": ""}
        return types.SimpleNamespace(info=types.SimpleNamespace(run_id=key))

    def log_param(self, run_id: str, key: str, value: str) -> None:
        self.runs[run_id]["params"][key] = value

    def log_metric(self, run_id: str, key: str, value: float, step: int | None = None) -> None:
        self.runs[run_id]["metrics"].append((key, step, value))

    def get_metric_history(self, run_id: str, key: str):
        metrics = self.runs[run_id]["metrics"]
        return [types.SimpleNamespace(step=step) for name, step, _ in metrics if name == key]

    def set_terminated(self, run_id: str, status: str | None = None) -> None:
        self.runs[run_id]["status"] = status


def test_mlflow_is_asked_for_one_run_a_search_and_told_each_number_once(search, monkeypatch):
    store, record = search
    StandInMlflow.runs = {}
    module = types.ModuleType("mlflow")
    module.MlflowClient = StandInMlflow
    module.__spec__ = inspect.getmodule(types).__spec__
    monkeypatch.setitem(sys.modules, "mlflow", module)
    monkeypatch.setenv(VARIABLE, "mlflow:sqlite:///runs.db")
    count = []

    def pause_once(event):
        count.append(event)
        if len(count) == 6:
            pause_search(store, record.id)

    run(store, record, pause_once)
    run(store, record)
    (kept,) = StandInMlflow.runs.values()
    assert kept["status"] == "FINISHED"
    assert kept["params"]["strategy.name"] == "cma"
    fitness = [step for key, step, _ in kept["metrics"] if key == "search/fitness"]
    assert len(fitness) == len(set(fitness)) == len(store.evaluations(record.id, Split.SEARCH))


class Failing:
    """A tracker that breaks after its first number."""

    def __init__(self) -> None:
        self.told = 0

    def open(self, run):
        return frozenset()

    def log(self, step, values) -> None:
        self.told += 1
        raise ConnectionError("the tracker is gone")

    def close(self, *, finished) -> None:
        raise AssertionError("it was given up")


def test_a_sink_that_fails_is_given_up_and_the_search_goes_on(search, caplog):
    store, record = search
    failing = Failing()
    listener = SinkListener(failing, record)
    assert run(store, record, listener) is SearchStatus.FINISHED
    listener.close(finished=True)
    assert failing.told == 1


def test_a_tracker_that_lets_nobody_in_does_not_stop_the_search(search, caplog):
    class Shut(Failing):
        def open(self, run):
            raise PermissionError("no API key")

    store, record = search
    listener = SinkListener(Shut(), record)
    assert "no API key" in caplog.text
    assert run(store, record, listener) is SearchStatus.FINISHED


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("tensorbord:runs", "did you mean 'tensorboard'"),
        ("mlflow:x", r"pip install 'evomerge\[mlflow\]'"),
    ],
)
def test_a_sink_that_cannot_be_made_says_what_to_do(text, words):
    with pytest.raises(SpecError, match=words):
        make_sinks([text])


def test_settings_are_flat_and_lists_are_text():
    content = {"a": {"b": 1, "c": None}, "d": [1, 2]}
    assert dict(flat(content)) == {"a.b": 1, "d": "[1, 2]"}
