"""Processes of a server: each in a group of its own, with its last words in a file.

They outlive a server that is killed (their searches go on, and the next server finds them by their
leases), and end with one that is stopped.
"""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from evomerge.platforms import require_posix

_TAIL = 2000
_LARGEST_FILE = 5_000_000
_GRACE_SECONDS = 10.0


@dataclass(frozen=True)
class Ended:
    """A process that ended: its exit code (negative: a signal), and the end of what it said."""

    name: str
    code: int
    words: str


class Processes:
    """What runs now, by name.

    Args:
        folder: for the files that hold what the processes say; made where it is missing.
        environment: what their environment has beside this process's own.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        require_posix("a server that runs searches")
        self._folder, self._environment = folder, dict(environment)
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._begins: dict[str, int] = {}
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def names(self) -> list[str]:
        """What was started and not yet given back by `ended`."""
        return list(self._running)

    def start(self, name: str, module: str, arguments: Sequence[str]) -> None:
        """Run `python -m module arguments` under a name."""
        with self._file(name) as words:
            self._begins[name] = words.tell()
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                env={**os.environ, **self._environment},
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=words,
                start_new_session=True,
            )

    def ended(self) -> list[Ended]:
        """Those that ended since the last call."""
        done = [name for name, process in self._running.items() if process.poll() is not None]
        return [self._end(name) for name in done]

    def stop(self, names: Sequence[str], grace: float = _GRACE_SECONDS) -> None:
        """End some with everything that they started: asked first, killed after `grace` seconds."""
        chosen = [self._running[name] for name in names if name in self._running]
        for process in chosen:
            _signal(process, signal.SIGTERM)
        deadline = time.monotonic() + grace
        for process in chosen:
            with suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
            _signal(process, signal.SIGKILL)
            process.wait()

    def _end(self, name: str) -> Ended:
        process = self._running.pop(name)
        _signal(process, signal.SIGKILL)  # what it left behind in its group
        return Ended(name, process.returncode, self._words(name))

    def _file(self, name: str) -> IO[bytes]:
        path = self._path(name)
        if path.exists() and path.stat().st_size > _LARGEST_FILE:
            path.unlink()
        return path.open("ab")

    def _words(self, name: str) -> str:
        with self._path(name).open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(self._begins[name], file.tell() - _TAIL))
            return file.read().decode("utf-8", "replace").strip()

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.log"


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, number)
