"""Starts searches in processes of their own, finds everything they started, and kills some of it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

MARK = "EVOMERGE_TEST_MARK"
ROOT = Path(__file__).parents[2]
GUARDIAN = "guardian.py"
ENGINE = ("VLLM::Worker",)
"""How vLLM names the ranks of an engine."""
RUNNER = (sys.executable, "-m", "tests.faults.runner")


@dataclass
class Victim:
    """One search run by one driver after the other; every process of it carries a mark."""

    url: str
    search_id: str
    mode: str = "ray"
    log: Path | None = None
    lease: float | None = None
    """Seconds of the controller's lease, where not its own."""
    environment: dict[str, str] = field(default_factory=dict)
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)
    driver: subprocess.Popen[bytes] | None = None
    seen: set[psutil.Process] = field(default_factory=set)

    def start(self) -> None:
        own = {MARK: self.mark, "PYTHONPATH": str(ROOT), **self.environment}
        lease = [] if self.lease is None else [str(self.lease)]
        output = self.log.open("ab") if self.log else subprocess.DEVNULL
        self.driver = subprocess.Popen(
            [*RUNNER, self.url, self.search_id, self.mode, *lease],
            cwd=ROOT,
            env={**os.environ, **own},
            stdout=output,
            stderr=output,
            stdin=subprocess.DEVNULL,
        )

    def processes(self) -> list[psutil.Process]:
        """Everything alive that came from the drivers, the driver included.

        Found by the mark in the environment, by descent, and by having been seen before: Ray's
        workers write their title over their environment, and orphans lose their parent.
        """
        marked = [process for process in psutil.process_iter() if self._is_marked(process)]
        self.seen.update(marked)
        for process in marked:
            with suppress(psutil.Error):
                self.seen.update(process.children(recursive=True))
        return [process for process in self.seen if _is_alive(process)]

    def _is_marked(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get(MARK) == self.mark
        except (psutil.Error, OSError):
            return False

    def kill(self, chooser: random.Random, only: Sequence[str] = ()) -> list[str]:
        """SIGKILL one process, drawn by its role first; returns the role, or nothing."""
        roles: dict[str, list[psutil.Process]] = {}
        for process in self.processes():
            roles.setdefault(self.role(process), []).append(process)
        roles.pop(GUARDIAN, None)  # its own end has a test of its own
        allowed = sorted(role for role in roles if not only or role in only)
        if not allowed:
            return []
        role = chooser.choice(allowed)
        process = chooser.choice(sorted(roles[role], key=lambda process: process.pid))
        process.send_signal(signal.SIGKILL)
        return [role]

    def role(self, process: psutil.Process) -> str:
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            return "gone"
        if self.driver is not None and process.pid == self.driver.pid:
            return "controller"
        for name in (*ENGINE, "_WorkerActor", "raylet/raylet", "gcs_server", GUARDIAN):
            if name in line:
                return name
        return "other Ray process"

    def wait_until_gone(self, seconds: float) -> list[str]:
        """Wait for every process of the mark to end; the command lines of those that did not."""
        deadline = time.monotonic() + seconds
        while (left := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.2)
        return [" ".join(process.cmdline())[:200] for process in left]


def _is_alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def shared_memory() -> set[str]:
    """The names in /dev/shm, without those of a database that may run beside the test."""
    folder = Path("/dev/shm")
    names = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    return {name for name in names if not name.startswith("PostgreSQL")}
