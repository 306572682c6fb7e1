"""Ctrl-C and SIGTERM while a search runs: heard at once, obeyed where it does no harm.

An exception raised by a signal can strike anywhere, also between the statements of a transaction:
the connection then goes back to its pool with the database locked. So a signal only leaves word here,
and `Interruptible` raises KeyboardInterrupt between two dispatches. The engine's start, which can take
minutes and writes nothing, is broken off at once; so is everything at the second signal.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from evomerge.cli.exits import INTERRUPTED
from evomerge.cli.output import note
from evomerge.dispatch import Dispatcher
from evomerge.worker import Done, Task

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """A context that collects signals. `again` is the command that resumes the search."""

    def __init__(self, again: str) -> None:
        self._again = again
        self._wanted = False
        self._at_once = False

    @contextmanager
    def listening(self) -> Iterator["Interrupts"]:
        """Handle signals until the block ends."""
        before = {number: signal.getsignal(number) for number in SIGNALS}
        self.install()
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def install(self) -> None:
        """Handle signals, whoever did before: Ray's start puts a handler of its own over SIGTERM."""
        for number in SIGNALS:
            signal.signal(number, self._handle)

    def check(self) -> None:
        """Raise KeyboardInterrupt if one was asked for."""
        if self._wanted:
            raise KeyboardInterrupt

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """Within the block a signal raises immediately."""
        self._at_once = True
        try:
            self.check()
            yield
        finally:
            self._at_once = False

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._wanted:
            note(f"stopped at once; go on with: {self._again}")
            os._exit(INTERRUPTED)
        self._wanted = True
        if self._at_once:
            raise KeyboardInterrupt
        note("pausing … (Ctrl-C again stops at once; nothing is lost)")


class Interruptible:
    """A dispatcher that heeds interrupts between its calls."""

    def __init__(self, inner: Dispatcher, interrupts: Interrupts) -> None:
        self._inner, self._interrupts = inner, interrupts

    @property
    def slots(self) -> int:
        return self._inner.slots

    @property
    def next_worker(self) -> str:
        return self._inner.next_worker

    def start(self) -> dict[str, str]:
        with self._interrupts.at_once():
            versions = self._inner.start()
        self._interrupts.install()
        return versions

    def resize(self, workers: int | None) -> None:
        self._inner.resize(workers)

    def submit(self, task: Task) -> None:
        self._interrupts.check()
        self._inner.submit(task)

    def wait(self, seconds: float) -> list[Done]:
        self._interrupts.check()
        return self._inner.wait(seconds)

    def close(self) -> None:
        self._inner.close()
