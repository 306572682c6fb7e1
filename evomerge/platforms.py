"""What only POSIX systems have: locks on files, groups of processes, Ray's and vLLM's engines.

Windows can inspect, plan, validate, merge and talk to a server. Nothing that it lacks is imported before it
is asked for; what is asked for in vain says so, and where it can be had.
"""

import os
from types import ModuleType

from evomerge.errors import ResourceError


def require_posix(what: str) -> None:
    """Raise ResourceError where this is no POSIX system; `what` needs one."""
    if os.name != "posix":
        raise _refusal(what)


def lock(file: int, *, shared: bool = False, wait: bool = True) -> bool:
    """Lock an open file until it is closed, at the latest by the end of this process.

    shared: others may hold it like this at the same time. wait: until it can be had; else False where
    another process has it. Raises ResourceError where files cannot be locked.
    """
    fcntl = _fcntl()
    mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
    try:
        fcntl.flock(file, mode | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _fcntl() -> ModuleType:
    try:
        import fcntl
    except ImportError as error:
        raise _refusal("a lock on a file") from error
    return fcntl


def _refusal(what: str) -> ResourceError:
    return ResourceError(
        f"{what} needs a POSIX system (Linux, macOS)",
        remedy="run it there, or under WSL 2 on this machine; `--server URL` uses a server elsewhere",
    )
