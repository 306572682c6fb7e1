"""The ranks of an engine of several: none outlives the worker, and no call waits for a dead one.

The engine itself runs in the worker, its ranks are children of the worker's. Where a rank or the worker is
killed two things go wrong, seen with vLLM 0.32. Ranks live on for minutes, with their memory, because
their sign of the parent's end is a pipe whose other end a sibling holds too. And a call that was on its
way may be waited for forever. So each rank watches its parent (vLLM calls `end_with_parent` in it, as a
plugin: pyproject.toml, `vllm.general_plugins`), and the worker watches the ranks while it waits.
"""

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress

import psutil

from evomerge.errors import EngineError

_WORKER = "EVOMERGE_ENGINE_OF"
"""The process id of the worker whose engine starts; set while it does."""
_LOOK_SECONDS = 0.5


@contextmanager
def starting() -> Iterator[None]:
    """The engine that is started meanwhile ends with this process."""
    os.environ[_WORKER] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[_WORKER]


def end_with_parent() -> None:
    """Watch this process's parent, where both belong to an engine of ours; elsewhere nothing happens."""
    if os.environ.get(_WORKER, str(os.getpid())) != str(os.getpid()):
        threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_SECONDS)
    os.kill(os.getpid(), signal.SIGKILL)


class Ranks:
    """The ranks of a running engine, by their process ids."""

    def __init__(self, ids: Sequence[int]) -> None:
        self._processes = [psutil.Process(rank) for rank in ids]

    def call(self, function: Callable[[], list[str]]) -> list[str]:
        """What `function` returns or raises; EngineError where a rank dies before it answers."""
        answers: list[list[str]] = []
        errors: list[BaseException] = []
        # Left behind if a rank dies: nothing ends a thread that waits for what will not come.
        caller = threading.Thread(target=_keep, args=(function, answers, errors), daemon=True)
        caller.start()
        while caller.is_alive() and self.are_alive:
            caller.join(_LOOK_SECONDS)
        if errors:
            raise errors[0]
        if not answers:
            raise EngineError("a rank of the engine died", remedy="start another engine")
        return answers[0]

    @property
    def are_alive(self) -> bool:
        """Whether none of them has died."""
        return all(map(_is_alive, self._processes))

    def end(self) -> None:
        """Kill what is left of them."""
        for process in self._processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _keep(
    function: Callable[[], list[str]], answers: list[list[str]], errors: list[BaseException]
) -> None:
    try:
        answers.append(function())
    except BaseException as error:
        errors.append(error)


def _is_alive(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
