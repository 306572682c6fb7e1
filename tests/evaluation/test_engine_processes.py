"""Processes of an engine end together; no call waits for a dead one."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import psutil
import pytest

from evomerge.errors import EngineError
from evomerge.evaluation.engine_processes import EngineProcesses

_RANK = """
import time
from evomerge.evaluation.engine_processes import end_with_parent
end_with_parent()
print("watching", flush=True)
time.sleep(60)
"""
_CORE = f"""
import subprocess, sys, time
rank = subprocess.Popen([sys.executable, "-c", {_RANK!r}], stdout=subprocess.PIPE, text=True)
print(rank.pid, rank.stdout.readline(), flush=True)
rank.wait()
time.sleep(60)
"""


@pytest.fixture
def core(monkeypatch):
    """A process with one child, which watches it if this one is a worker whose engine it is."""

    def start(worker: str | None) -> tuple[subprocess.Popen[str], psutil.Process]:
        if worker is not None:
            monkeypatch.setenv("EVOMERGE_ENGINE_OF", worker)
        process = subprocess.Popen([sys.executable, "-c", _CORE], stdout=subprocess.PIPE, text=True)
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


def test_a_rank_whose_core_is_killed_ends(core):
    process, rank = core("1")
    process.kill()
    rank.wait(30)


def test_a_process_of_nobodys_engine_outlives_its_parent(core):
    process, rank = core(None)
    process.kill()
    time.sleep(1.5)
    assert rank.is_running() and rank.status() != psutil.STATUS_ZOMBIE


def test_a_call_to_a_core_that_dies_raises_instead_of_waiting(core):
    process, rank = core(None)
    processes = EngineProcesses([(rank.pid, process.pid)])
    threading.Timer(0.5, process.kill).start()
    with pytest.raises(EngineError, match="a process of the engine died"):
        processes.call(lambda: threading.Event().wait() and [])


def test_what_a_call_answers_or_raises_comes_back(core):
    process, rank = core(None)
    processes = EngineProcesses([(rank.pid, process.pid)])
    assert processes.call(lambda: ["here"]) == ["here"]
    with pytest.raises(ZeroDivisionError):
        processes.call(lambda: [str(1 // 0)])


def test_what_is_left_of_an_engine_is_ended(core):
    process, rank = core(None)
    processes = EngineProcesses([(rank.pid, process.pid)])
    assert processes.are_alive
    processes.end()
    process.wait(30)
    rank.wait(30)
    assert not processes.are_alive


def test_an_engine_whose_rank_has_died_is_not_alive_although_its_core_is(core):
    process, rank = core(None)
    processes = EngineProcesses([(rank.pid, process.pid)])
    rank.kill()
    rank.wait(30)
    assert process.poll() is None
    assert not processes.are_alive
