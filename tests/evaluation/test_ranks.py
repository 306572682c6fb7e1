"""Ranks end with their worker; no call waits for a dead one."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil
import pytest

from evomerge.errors import EngineError
from evomerge.evaluation import ranks as module
from evomerge.evaluation.ranks import Ranks, remove_left_behind, starting

_RANK = """
import time
from evomerge.evaluation.ranks import end_with_parent
end_with_parent()
print("watching", flush=True)
time.sleep(60)
"""
_WORKER = f"""
import subprocess, sys, time
rank = subprocess.Popen([sys.executable, "-c", {_RANK!r}], stdout=subprocess.PIPE, text=True)
print(rank.pid, rank.stdout.readline(), flush=True)
rank.wait()
time.sleep(60)
"""


@pytest.fixture
def worker(monkeypatch, tmp_path):
    """A process with one child, which watches it where `of`, a process id, says that it is a rank."""

    def start(of: str | None) -> tuple[subprocess.Popen[str], psutil.Process]:
        if of is not None:
            monkeypatch.setenv("EVOMERGE_ENGINE_OF", of)
            monkeypatch.setenv("EVOMERGE_ENGINE_NAMES", str(tmp_path))
            monkeypatch.setenv("VLLM_DIST_IDENT", "meeting")
        process = subprocess.Popen(
            [sys.executable, "-c", _WORKER], stdout=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        rank = psutil.Process(int(process.stdout.readline().split()[0]))
        started.append((process, rank))
        return process, rank

    started: list[tuple[subprocess.Popen[str], psutil.Process]] = []
    yield start
    for process, rank in started:
        process.kill()
        process.wait()
        if rank.is_running():
            rank.kill()


def test_a_rank_whose_worker_is_killed_ends(worker):
    process, rank = worker("1")
    process.kill()
    rank.wait(30)


def test_a_rank_leaves_the_name_of_its_shared_memory_where_the_worker_finds_it(worker, tmp_path):
    worker("1")
    deadline = time.monotonic() + 30
    while not (tmp_path / "meeting.rank").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_process_of_nobodys_engine_outlives_its_parent(worker):
    process, rank = worker(None)
    process.kill()
    time.sleep(1.5)
    assert rank.is_running() and rank.status() != psutil.STATUS_ZOMBIE


def test_a_call_while_a_rank_dies_raises_instead_of_waiting(worker):
    _, rank = worker(None)
    ranks = Ranks([rank.pid])
    threading.Timer(0.5, rank.kill).start()
    with pytest.raises(EngineError, match="a rank of the engine died"):
        ranks.call(lambda: threading.Event().wait() and [])


def test_what_a_call_answers_or_raises_comes_back(worker):
    _, rank = worker(None)
    ranks = Ranks([rank.pid])
    assert ranks.call(lambda: ["here"]) == ["here"]
    with pytest.raises(ZeroDivisionError):
        ranks.call(lambda: [str(1 // 0)])


def test_what_is_left_of_an_engine_is_ended(worker):
    process, rank = worker(None)
    ranks = Ranks([rank.pid])
    assert ranks.are_alive
    ranks.end()
    rank.wait(30)
    assert not ranks.are_alive
    assert process.poll() is None


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Folders in place of /tmp and /dev/shm, and no folder yet for this process."""
    temporary, memory = tmp_path / "temporary", tmp_path / "memory"
    temporary.mkdir()
    memory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setattr(module, "_SHARED_MEMORY", memory)
    monkeypatch.setenv("VLLM_RPC_BASE_PATH", "elsewhere")
    module._folder.cache_clear()
    yield temporary, memory
    module._folder.cache_clear()


def share(memory):
    """What an engine of two shares by name while it starts."""
    for name in ("meeting", "socket"):
        (Path(tempfile.gettempdir()) / name).touch()
    (Path(tempfile.gettempdir()) / "other.rank").touch()
    (memory / "other-tp:0-[0-1]-cpushm_0").touch()
    for rank in range(2):
        (memory / f"meeting-tp:0-[0-1]-cpushm_{rank}").touch()


def test_what_an_engine_shared_by_name_goes_with_it(places, monkeypatch):
    temporary, memory = places
    monkeypatch.setattr(module, "_LONGEST_FOLDER", 1000)
    with starting():
        share(memory)
        assert os.environ["VLLM_RPC_BASE_PATH"] == tempfile.gettempdir()
    assert tempfile.gettempdir() == str(temporary)
    (memory / "somebody else's").touch()
    Ranks([]).end()
    assert [name.name for name in memory.iterdir()] == ["somebody else's"]
    assert list(next(temporary.iterdir()).iterdir()) == []


def test_sockets_stay_outside_a_folder_whose_name_is_too_long_for_them(places, monkeypatch):
    temporary, _ = places
    monkeypatch.setattr(module, "_LONGEST_FOLDER", len(str(temporary)) + 5)
    with starting():
        assert os.environ["VLLM_RPC_BASE_PATH"] == str(temporary)


def test_an_engine_that_does_not_start_leaves_nothing(places):
    temporary, memory = places
    with pytest.raises(ZeroDivisionError), starting():
        share(memory)
        _ = 1 // 0
    assert list(memory.iterdir()) == []
    assert list(next(temporary.iterdir()).iterdir()) == []


_LEAVING = """
import tempfile
from pathlib import Path
from evomerge.evaluation import ranks
ranks._SHARED_MEMORY = Path({memory!r})
with ranks.starting():
    (Path(tempfile.gettempdir()) / "meeting").touch()
(ranks._SHARED_MEMORY / "meeting-tp:0-[0-1]-cpushm_0").touch()
"""


def test_a_worker_that_ends_without_closing_its_engine_leaves_nothing(places):
    temporary, memory = places
    code = _LEAVING.format(memory=str(memory))
    environment = {**os.environ, "TMPDIR": str(temporary)}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)
    assert list(memory.iterdir()) == list(temporary.iterdir()) == []


_KILLED = """
import tempfile, time
from evomerge.evaluation.ranks import starting
with starting():
    open(tempfile.gettempdir() + "/meeting", "w").close()
    print("started", flush=True)
    time.sleep(60)
"""


def test_what_a_killed_worker_left_is_removed_and_what_a_live_one_has_is_not(places):
    temporary, memory = places
    process = subprocess.Popen(
        [sys.executable, "-c", _KILLED],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    try:
        assert process.stdout is not None and process.stdout.readline() == "started\n"
        (memory / "meeting-tp:0-[0-1]-cpushm_0").touch()
        remove_left_behind()
        assert list(memory.iterdir()) and list(temporary.iterdir())
    finally:
        process.kill()
        process.wait()
    remove_left_behind()
    assert list(memory.iterdir()) == list(temporary.iterdir()) == []
