"""`doctor` knocks at Ray's doors as a stranger would: real heads with and without a token."""

from __future__ import annotations

import http.server
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evomerge.cli.doctor_ray import examine_ray
from evomerge.dispatch import openness
from evomerge.dispatch.openness import Door, dashboard, gcs
from tests.dispatch.nodes import Node, free_port, wait_for_port

TOKEN = "0123456789abcdef" * 4


@contextmanager
def head(folder: Path, mode: str) -> Iterator[str]:
    port = free_port()
    arguments = [
        *("--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false"),
        *("--node-ip-address=127.0.0.1", f"--temp-dir={folder}", "--object-store-memory=80000000"),
    ]
    node = Node("127.0.0.1", arguments, {"RAY_AUTH_MODE": mode, "RAY_AUTH_TOKEN": TOKEN})
    try:
        wait_for_port(port)
        yield f"127.0.0.1:{port}"
    finally:
        node.kill()


@contextmanager
def page(status: int) -> Iterator[str]:
    """What answers like Ray's dashboard: 200 where it is open, 401 where it wants a token."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, *_: object) -> None:
            """Nothing."""

    server = http.server.HTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(("mode", "is_open"), [("disabled", True), ("token", False)])
def test_a_head_without_token_authentication_is_open_and_one_with_it_is_not(
    mode, is_open, tmp_path_factory
):
    with head(tmp_path_factory.mktemp("ray"), mode) as address:
        assert gcs(address) == Door("Ray", address, is_open)
        done = subprocess.run(
            [sys.executable, "-m", "evomerge", "doctor", "--address", address, "--format", "json"],
            capture_output=True,
            text=True,
            check=False,
        )
    assert ("lets anybody in" in done.stdout) == is_open
    assert (done.returncode == 1) or not is_open


@pytest.mark.parametrize(("status", "is_open"), [(200, True), (401, False), (403, False)])
def test_a_dashboard_is_open_if_it_shows_its_jobs_to_a_stranger(status, is_open):
    with page(status) as url:
        assert dashboard(url) == Door("Ray's dashboard", url, is_open)


def test_where_nothing_listens_there_is_no_door():
    url = f"http://127.0.0.1:{free_port()}"
    assert not dashboard(url).is_there
    assert not gcs(f"127.0.0.1:{free_port()}").is_there


def test_a_cluster_that_was_named_and_does_not_answer_is_a_problem(monkeypatch):
    monkeypatch.setattr(openness, "DASHBOARD_PORT", free_port())
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        (finding,) = examine_ray(f"127.0.0.1:{unused.getsockname()[1]}")
    assert (finding.verdict, "nothing answers" in finding.found) == ("problem", True)


def test_an_open_dashboard_is_a_problem_with_a_remedy(monkeypatch):
    monkeypatch.setattr(openness, "known_here", list)
    with page(200) as url:
        monkeypatch.setattr(openness, "DASHBOARD_PORT", int(url.rpartition(":")[2]))
        (finding,) = examine_ray(None)
    assert finding.verdict == "problem"
    assert "RAY_AUTH_MODE=token" in finding.remedy
