"""`evomerge submit`: the controller lives on a Ray cluster, and the client may go away."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from ruamel.yaml import YAML

from evomerge.store import open_store
from evomerge.store.types import SearchStatus
from tests.support import fake_spec, history

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """A Ray head of its own on this machine; ended by its processes, never by `ray stop`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)}
    head = subprocess.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block"),
            *("--include-dashboard=false", f"--port={port}", "--num-cpus=4"),
            *("--node-ip-address=127.0.0.1", "--object-store-memory=100000000"),
        ],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        _wait_for_port(port, head)
        yield f"127.0.0.1:{port}"
    finally:
        family = [*psutil.Process(head.pid).children(recursive=True), psutil.Process(head.pid)]
        for process in family:
            process.kill()
        psutil.wait_procs(family, timeout=10)


def _wait_for_port(port: int, head: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and head.poll() is None:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                time.sleep(5)  # the head answers before its node has joined
                return
        time.sleep(0.5)
    raise AssertionError("the Ray head did not come up")


def _evomerge(*arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-m", "evomerge", *arguments],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_submitted_search_runs_on_after_its_client_has_left(cluster, tmp_path):
    spec = fake_spec(tmp_path, engine={"name": "fake", "fake_seconds": 0.05})
    file = tmp_path / "search.yml"
    with file.open("w", encoding="utf-8") as stream:
        YAML(typ="safe").dump(spec.model_dump(mode="json", exclude_defaults=True), stream)
    database = str(tmp_path / "evomerge.db")
    done = _evomerge(
        "submit", str(file), "--address", cluster, "--store", database, "--search-id", "detached"
    )
    assert done.returncode == 0, done.stderr
    store = open_store(database)
    deadline = time.monotonic() + 120
    while store.search("detached").status is not SearchStatus.FINISHED:
        assert time.monotonic() < deadline, store.search("detached")
        time.sleep(0.5)
    assert len(history(store, "detached")) > 18
    shown = _evomerge("best", "--search", "detached", "--store", database, "--format", "json")
    assert shown.returncode == 0, shown.stderr


def test_a_cluster_that_does_not_answer_is_named_with_a_remedy(tmp_path):
    spec = fake_spec(tmp_path)
    file = tmp_path / "search.yml"
    with file.open("w", encoding="utf-8") as stream:
        YAML(typ="safe").dump(spec.model_dump(mode="json", exclude_defaults=True), stream)
    done = _evomerge(
        "submit", str(file), "--address", "127.0.0.1:1", "--store", str(tmp_path / "evomerge.db")
    )
    assert done.returncode == 2
    assert "127.0.0.1:1" in done.stderr
    assert "ray start" in done.stderr
    assert "Traceback" not in done.stderr
