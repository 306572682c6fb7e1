"""`serve`, `token` and `owner`, and the commands that speak to a server, each as a person types it."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from tests.cli.conftest import write_search


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """`evomerge serve` in a process of its own."""

    def __init__(self, folder, *options):
        self.folder, self.port, self.options = folder, free_port(), options
        self.url = f"http://127.0.0.1:{self.port}"
        self.start()

    def start(self):
        environment = {**os.environ, "XDG_DATA_HOME": str(self.folder / "data")}
        command = [sys.executable, "-m", "evomerge", "serve", "--port", str(self.port)]
        command += ["--store", str(self.folder / "store.db"), "--inline", *self.options]
        self.process = subprocess.Popen(
            command, cwd=self.folder, env=environment, stderr=subprocess.PIPE, text=True
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None, self.process.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.1)

    def end(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        self.process.wait(60)
        self.process.stderr.close()


@pytest.fixture
def server(tmp_path, monkeypatch):
    for name in ("EVOMERGE_TOKEN", "EVOMERGE_SERVER", "EVOMERGE_STORE"):
        monkeypatch.delenv(name, raising=False)
    write_search(tmp_path)
    found = Server(tmp_path, "--export-folder", str(tmp_path / "exports"))
    yield found
    if found.process.poll() is None:
        found.end()


def test_a_search_is_submitted_watched_and_answered_through_a_server(server, evomerge, tmp_path):
    at = ("--server", server.url)
    made = evomerge("submit", tmp_path / "search.yml", *at, "--format", "json").json
    search = made["search"]
    watched = evomerge("watch", search, *at)
    assert watched.code == 0
    assert f"search {search} is finished" in watched.err
    assert "The search beat" in watched.out or "did not" in watched.out
    status = evomerge("status", search, *at, "--format", "json").json
    assert (status["status"], status["queue"]["owner"]) == ("finished", "local")
    assert [row["id"] for row in evomerge("list", *at, "--format", "json").json] == [search]
    best = evomerge("best", "--search", search, "-n", 2, *at, "--format", "json").json
    here = evomerge(
        "best", "--search", search, "-n", 2, "--store", tmp_path / "store.db", "--format", "json"
    ).json
    assert best == here
    table = evomerge("best", "--search", search, *at)
    assert "fitness" in table.out and search in table.err
    assert "merge_method" in evomerge("best", "--search", search, *at, "--format", "yaml").out
    rows = evomerge("query", "progress", "-p", f"search={search}", *at, "--format", "json").json
    assert rows[0]["search_id"] == search
    report = tmp_path / "page.html"
    assert evomerge("report", search, "--out", report, *at).code == 0
    assert "evomerge" in report.read_text(encoding="utf-8")[:2000]
    exported = evomerge("export", search, "winner", *at, "--format", "json").json
    assert (tmp_path / "exports" / "winner" / "model.safetensors").is_file()
    assert exported["out"].endswith("/winner")
    refused = evomerge("pause", search, *at)
    assert refused.code == 2
    assert "is finished already" in refused.err and "→" in refused.err


def test_a_search_is_steered_through_a_server(server, evomerge, tmp_path):
    at = ("--server", server.url)
    slow = write_search(tmp_path, engine={"name": "fake", "fake_seconds": 0.3})
    search = evomerge("submit", slow, *at, "--priority", 2, "--format", "json").json["search"]
    assert evomerge("pause", search, *at).code == 0
    deadline = time.monotonic() + 60
    while evomerge("status", search, *at, "--format", "json").json["status"] != "paused":
        assert time.monotonic() < deadline
    edited = evomerge("edit", search, "--candidates", 3, "--priority", 5, *at, "--format", "json")
    assert (edited.json["budget"]["candidates"], edited.json["priority"]) == (3, 5)
    assert evomerge("resume", search, *at).code == 0
    assert evomerge("cancel", search, *at, "--format", "json").json["search"] == search


def test_a_server_that_is_killed_and_started_again_goes_on(server, evomerge, tmp_path):
    slow = write_search(tmp_path, engine={"name": "fake", "fake_seconds": 0.2})
    at = ("--server", server.url)
    search = evomerge("submit", slow, *at, "--format", "json").json["search"]
    deadline = time.monotonic() + 60
    while not evomerge("status", search, *at, "--format", "json").json["done"].get("baselines"):
        assert time.monotonic() < deadline
    server.end(signal.SIGKILL)
    server.start()
    assert evomerge("watch", search, *at).code == 0
    assert evomerge("status", search, *at, "--format", "json").json["status"] == "finished"


def test_a_server_that_is_not_there_is_told_with_what_to_do(evomerge, monkeypatch):
    from evomerge import client

    monkeypatch.setattr(client.time, "sleep", lambda seconds: None)
    done = evomerge("list", "--server", f"http://127.0.0.1:{free_port()}")
    assert done.code == 2
    assert "no server answers" in done.err and "evomerge serve" in done.err


def test_a_submission_to_nowhere_is_told_where_it_could_go(evomerge, tmp_path):
    done = evomerge("submit", write_search(tmp_path))
    assert done.code == 2
    assert "--server" in done.err and "--address" in done.err


# --- what serve refuses ---


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], "token create"),
        (["--proxy", "127.0.0.1"], "token create"),
        (["--tls-cert", "cert.pem"], "--tls-key"),
        (["--model-folder", "nowhere"], "no such folder"),
    ],
    ids=lambda x: x[0] if isinstance(x, list) else "",
)
def test_serve_refuses_what_would_be_open_or_wrong(evomerge, tmp_path, options, words):
    done = evomerge("serve", "--store", tmp_path / "s.db", *options)
    assert done.code == 2
    assert words in done.err


def test_a_port_that_is_taken_is_told(evomerge, tmp_path):
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        done = evomerge("serve", "--store", tmp_path / "s.db", "--port", port)
    assert done.code == 2
    assert "--port" in done.err


# --- tokens and owners ---


def test_tokens_are_made_listed_rotated_and_revoked(evomerge, tmp_path):
    store = ("--store", tmp_path / "s.db")
    made = evomerge("token", "create", "--owner", "ada", "--scope", "submit", *store)
    assert re.fullmatch(r"evm_[0-9a-f]{12}_[\w-]{43}\n", made.out)
    listed = evomerge("token", "list", *store, "--format", "json").json
    assert (listed[0]["owner"], listed[0]["scope"], listed[0]["expires"]) == ("ada", "submit", None)
    assert made.out.strip() not in json.dumps(listed)
    new = evomerge(
        "token", "rotate", listed[0]["id"], "--expires", "30d", *store, "--format", "json"
    ).json
    assert new["token"] != made.out.strip()
    assert new["expires"] is not None
    assert evomerge("token", "revoke", new["id"], *store).code == 0
    rows = evomerge("token", "list", *store, "--format", "json").json
    assert all(row["revoked"] is not None for row in rows)
    assert evomerge("token", "revoke", "nothing", *store).code == 2


@pytest.mark.parametrize("time_given", ["soon", "3", "0d", "-1d", "1y", "9999999d"])
def test_a_time_that_is_none_is_refused(evomerge, tmp_path, time_given):
    done = evomerge(
        "token", "create", "--owner", "a", "--scope", "read", f"--expires={time_given}",
        "--store", tmp_path / "s.db",
    )  # fmt: skip
    assert done.code == 2
    assert "30d" in done.err


def test_an_owner_gets_a_weight_and_limits_and_keeps_what_is_not_named(evomerge, tmp_path):
    store = ("--store", tmp_path / "s.db", "--format", "json")
    evomerge("owner", "set", "ada", "--weight", 2, "--running", 3, *store)
    changed = evomerge("owner", "set", "ada", "--workers", 8, *store).json
    assert (changed["weight"], changed["running"], changed["workers"]) == (2.0, 3, 8)
    assert [row["owner"] for row in evomerge("owner", "list", *store).json] == ["ada"]
