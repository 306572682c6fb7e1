"""Traces follow one candidate from ask to tell, across processes; off, they cost no import."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from evomerge.dispatch.connection import connect
from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.store import open_store
from evomerge.telemetry import traces
from tests.support import fake_spec, history


@pytest.fixture
def spans_file(tmp_path, monkeypatch):
    file = tmp_path / "spans.jsonl"
    monkeypatch.setenv("EVOMERGE_TRACE", str(file))
    traces._provider.cache_clear()
    yield file
    traces._provider.cache_clear()


def read(file: Path) -> list[dict]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]


def run(store, folder, *, inline):
    search = submit_search(store, check_search(fake_spec(folder)), search_id="traced")
    dispatcher = make_dispatcher(search.spec, store.url, inline=inline)
    try:
        run_search(store, search.id, dispatcher)
    finally:
        dispatcher.close()
    return search


def of_candidate(file: Path, number: int) -> dict[str, dict]:
    carrier = traces.candidate_carrier("traced", number)
    trace = carrier["traceparent"].split("-")[1]
    return {s["name"]: s for s in read(file) if s["context"]["trace_id"] == f"0x{trace}"}


def test_a_candidate_s_spans_hang_together_from_ask_to_tell_also_through_ray(spans_file, tmp_path):
    import ray

    store = open_store(str(tmp_path / "s.db"))
    connect(None, cpus=1)
    try:
        search = run(store, tmp_path, inline=False)
    finally:
        ray.shutdown()
    number = next(c.number for c in store.candidates(search.id) if c.told is not None)
    spans = of_candidate(spans_file, number)
    wanted = {"candidate", "ask", "dispatch", "attempt", "merge", "load", "score", "write", "tell"}
    assert set(spans) == wanted
    root = spans["candidate"]["context"]["span_id"]
    assert spans["candidate"]["parent_id"] is None
    assert all(spans[name]["parent_id"] == root for name in ("ask", "dispatch", "attempt", "tell"))
    attempt = spans["attempt"]["context"]["span_id"]
    assert all(spans[name]["parent_id"] == attempt for name in ("merge", "load", "score", "write"))
    processes = {
        spans[name]["resource"]["attributes"]["process.pid"] for name in ("ask", "attempt")
    }
    assert len(processes) == 2
    assert spans["attempt"]["attributes"]["candidate"] == number
    order = [spans[name]["start_time"] for name in ("ask", "dispatch", "attempt", "write", "tell")]
    assert order == sorted(order)
    store.close()


def test_traces_change_no_history(spans_file, tmp_path, monkeypatch):
    store = open_store(str(tmp_path / "on.db"))
    search = run(store, tmp_path, inline=True)
    monkeypatch.delenv("EVOMERGE_TRACE")
    other = open_store(str(tmp_path / "off.db"))
    assert history(store, search.id) == history(other, run(other, tmp_path, inline=True).id)
    store.close()
    other.close()


def test_while_traces_are_off_nothing_of_opentelemetry_is_imported(tmp_path):
    code = (
        "import sys; from evomerge.telemetry import traces\n"
        "import evomerge.controller.evolution, evomerge.worker\n"
        "with traces.span('x', traces.candidate_carrier('s', 1)): traces.record('y', 1.0)\n"
        "print(traces.inject(), [m for m in sys.modules if m.startswith('opentelemetry')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "{} []"


def test_whoever_knows_the_candidate_finds_its_trace(monkeypatch):
    monkeypatch.setenv("EVOMERGE_TRACE", "otlp")
    first, second = (traces.candidate_carrier("s", number) for number in (1, 2))
    assert traces.candidate_carrier("s", 1) == first != second
