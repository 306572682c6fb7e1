"""Ranks end with their worker; no call waits for a dead one."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import psutil
import pytest

from evomerge.errors import EngineError
from evomerge.evaluation.ranks import Ranks

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
def worker(monkeypatch):
    """A process with one child, which watches it where `of`, a process id, says that it is a rank."""

    def start(of: str | None) -> tuple[subprocess.Popen[str], psutil.Process]:
        if of is not None:
            monkeypatch.setenv("EVOMERGE_ENGINE_OF", of)
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
