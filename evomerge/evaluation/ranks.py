"""The ranks of an engine of several: none outlives the worker, no call waits for a dead one, nothing is left.

The engine itself runs in the worker, its ranks are children of the worker's. Where a rank or the worker is
killed three things go wrong, seen with vLLM 0.32. Ranks live on for minutes, with their memory, because
their sign of the parent's end is a pipe whose other end a sibling holds too. A call that was on its way may
be waited for forever. And what ranks share by name stays: sockets, the file by which they found each other,
and on a CPU 4 MB of shared memory for each. So each rank watches its parent (vLLM calls `end_with_parent` in
it, as a plugin: pyproject.toml, `vllm.general_plugins`), the worker watches the ranks while it waits, and
the names are made in a folder whose lock says whether the worker lives.
"""

import atexit
import functools
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from evomerge.errors import EngineError
from evomerge.platforms import lock

_WORKER = "EVOMERGE_ENGINE_OF"
"""The process id of the worker whose engine starts; set while it does, as the next one is."""
_NAMES = "EVOMERGE_ENGINE_NAMES"
"""The folder for its names."""
_IDENTITY = "VLLM_DIST_IDENT"
"""In a rank on a CPU: what the names of its shared memory begin with."""
_SOCKETS = "VLLM_RPC_BASE_PATH"
_FOLDER = "evomerge-engine-"
_LONGEST_FOLDER = 70
"""Of a socket's path the system bears 107 characters, and vLLM's names have 36."""
_SHARED_MEMORY = Path("/dev/shm")
_LOOK_SECONDS = 0.5


@contextmanager
def starting() -> Iterator[None]:
    """The engine of several ranks that is started meanwhile ends with this process, and leaves nothing."""
    folder = _folder()
    _empty(folder)  # of an engine that died before it could be closed
    os.environ[_WORKER], os.environ[_NAMES] = str(os.getpid()), str(folder)
    fits = len(str(folder)) <= _LONGEST_FOLDER
    # It stays set: vLLM reads it once in a process's life.
    os.environ[_SOCKETS] = str(folder if fits else folder.parent)
    before, tempfile.tempdir = tempfile.tempdir, str(folder)
    try:
        yield
    except BaseException:
        _empty(folder)
        raise
    finally:
        tempfile.tempdir = before
        del os.environ[_WORKER], os.environ[_NAMES]


def end_with_parent() -> None:
    """Watch this process's parent, where both belong to an engine of ours; elsewhere nothing happens."""
    if os.environ.get(_WORKER, str(os.getpid())) != str(os.getpid()):
        arguments = os.getppid(), Path(os.environ[_NAMES])
        threading.Thread(target=_watch, args=arguments, daemon=True).start()


def _watch(parent: int, folder: Path) -> None:
    noted = False
    while os.getppid() == parent:
        if not noted and (identity := os.environ.get(_IDENTITY)):
            # vLLM's own file of that name goes seconds before the shared memory does.
            with suppress(OSError):
                (folder / f"{identity}.rank").touch()
            noted = True
        time.sleep(_LOOK_SECONDS)
    remove_left_behind()
    os.kill(os.getpid(), signal.SIGKILL)


def remove_left_behind() -> None:
    """Remove what engines shared by name whose workers did not live to do it."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_FOLDER}*"):
        with suppress(OSError):  # another's lock, or another was faster
            file = _locked(folder)
            _remove(folder)
            os.close(file)


@functools.cache
def _folder() -> Path:
    """This process's folder for names; its lock is held for as long as the process lives."""
    remove_left_behind()
    made = Path(tempfile.mkdtemp(prefix=f"new-{_FOLDER}"))
    _locked(made)
    folder = made.rename(made.with_name(made.name.removeprefix("new-")))
    atexit.register(_remove, folder)
    return folder


def _locked(folder: Path) -> int:
    """The lock on a folder; OSError where somebody has it."""
    file = os.open(folder, os.O_RDONLY)
    if not lock(file, wait=False):
        os.close(file)
        raise BlockingIOError(folder)
    return file


def _remove(folder: Path) -> None:
    with suppress(OSError):
        _empty(folder)
        folder.rmdir()


def _empty(folder: Path) -> None:
    """Shared memory is called after the file by which an engine's ranks found each other."""
    for name in folder.iterdir():
        for shared in _SHARED_MEMORY.glob(f"{name.stem}-*"):
            shared.unlink(missing_ok=True)
        name.unlink(missing_ok=True)


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
        """Kill what is left of them, and remove what they shared by name."""
        for process in self._processes:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        _empty(_folder())


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
