"""A study on real Ray workers, with the fake engine: what a lost worker costs, and what it finds."""

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest

from evomerge.errors import EvomergeError
from evomerge.store import open_store
from tests.study.studies import SEARCHED, TUNED, write_study

METHODS = ["linear", TUNED, SEARCHED, "ties"]


def study(file, out, *options):
    command = [sys.executable, "-m", "evomerge", "study", str(file), "--json", "--out", str(out)]
    return subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def finished(child):
    out, err = child.communicate(timeout=240)
    assert child.returncode == 0, err[-3000:]
    return json.loads(out)


def attempts(folder):
    """Every try so far; none while there is no store yet."""
    if not (folder / "study.db").is_file():
        return []
    with suppress(EvomergeError):
        store = open_store(str(folder / "study.db"))
        found = [e for search in store.searches() for e in store.evaluations(search.id)]
        tries = [attempt for one in found for attempt in store.attempts(one.id)]
        store.close()
        return tries
    return []


@pytest.mark.slow
def test_workers_share_a_study_and_a_lost_ones_merges_are_made_again(tmp_path):
    slow = {"name": "fake", "fake_seconds": 0.3}
    file = write_study(tmp_path, methods=METHODS, engine=slow, workers={"max": 2})
    child, out = study(file, tmp_path / "out"), tmp_path / "out"
    deadline = time.monotonic() + 120
    while not (busy := [a for a in attempts(out) if a.status == "running"]):
        assert child.poll() is None, child.stderr.read()[-3000:]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(int(busy[0].worker.rpartition(" ")[2]), signal.SIGKILL)
    found = finished(child)
    lost = [a for a in attempts(out) if a.error_type == "WorkerLostError"]
    workers = {attempt.worker for attempt in attempts(out)}
    assert len(lost) >= 1
    assert len(workers) >= 3  # two, and the one that came for the lost one
    quiet = write_study(tmp_path, methods=METHODS)
    undisturbed = finished(study(quiet, tmp_path / "undisturbed", "--inline"))
    assert found["failures"] == []
    assert found["measures"] == undisturbed["measures"]
    assert found["scores"] == undisturbed["scores"]
