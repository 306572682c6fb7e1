"""Who holds a lease: a name for this process by which others of the host see whether it lives.

`host:pid:start:machine:nonce`: `start` is when the process began, so that a pid used again deceives
nobody; `machine` tells apart boots and pid namespaces (two containers may share host name and
pids, and cannot see each other's processes); `nonce` tells apart two controllers in one process.
"""

import hashlib
import os
import secrets
import socket
from pathlib import Path

import psutil


def make_owner() -> str:
    """A new owner name for this process."""
    pid = os.getpid()
    return ":".join([_host(), str(pid), _start(pid) or "?", _machine(), secrets.token_hex(4)])


def is_gone(owner: str) -> bool:
    """Whether `owner` was surely a process of this machine and is no more. In doubt: False."""
    parts = owner.split(":")
    if len(parts) != 5 or not parts[1].isdigit():
        return False
    host, pid, start, machine, _ = parts
    if (host, machine) != (_host(), _machine()) or start == "?":
        return False
    return _start(int(pid)) not in (start, "?")


def _host() -> str:
    return socket.gethostname().replace(":", "-")


def _machine() -> str:
    """8 hex digits for this boot and pid namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")
        space = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        boot, space = str(int(psutil.boot_time())), ""
    return hashlib.sha256(f"{boot}{space}".encode()).hexdigest()[:8]


def _start(pid: int) -> str | None:
    """When the process began; None where it is gone or waits as a zombie; "?" where hidden."""
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return _ticks(pid) or str(round(process.create_time()))
    except psutil.NoSuchProcess:
        return "?" if psutil.pid_exists(pid) else None
    except psutil.Error:
        return "?"


def _ticks(pid: int) -> str | None:
    """Linux's own figure, which a change of the wall clock does not move."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return line.rpartition(")")[2].split()[19]
