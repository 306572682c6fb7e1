"""The processes of an engine of several ranks: none outlives the worker, and no call waits for a dead one.

Such an engine is a core, a child of the worker's, and ranks, children of the core's. Where one of them is
killed two things go wrong, seen with vLLM 0.32. Ranks live on for minutes, with their memory, because
their sign of the core's end is a pipe whose other end a sibling holds too. And a call that was on its way
to the core is waited for forever. So each process of an engine watches its parent (vLLM calls
`end_with_parent` in all of them, as a plugin: pyproject.toml, `vllm.general_plugins`), and the worker
watches the core while it waits.
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


class EngineProcesses:
    """Core and ranks of a running engine.

    Args:
        ranks: for each rank its process id and its parent's, the core's.
    """

    def __init__(self, ranks: Sequence[tuple[int, int]]) -> None:
        self._core = psutil.Process(ranks[0][1])
        self._ranks = [psutil.Process(rank) for rank, _ in ranks]

    def call(self, function: Callable[[], list[str]]) -> list[str]:
        """What `function` returns or raises; EngineError where the core dies before it answers."""
        answers: list[list[str]] = []
        errors: list[BaseException] = []
        # Left behind if the core dies: nothing ends a thread that waits for what will not come.
        caller = threading.Thread(target=_keep, args=(function, answers, errors), daemon=True)
        caller.start()
        while caller.is_alive() and _is_alive(self._core):
            caller.join(_LOOK_SECONDS)
        if errors:
            raise errors[0]
        if not answers:
            raise EngineError("a process of the engine died", remedy="start another engine")
        return answers[0]

    @property
    def are_alive(self) -> bool:
        """Whether none of them has died."""
        return all(_is_alive(process) for process in (self._core, *self._ranks))

    def end(self) -> None:
        """Kill what is left of them."""
        for process in (self._core, *self._ranks):
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
