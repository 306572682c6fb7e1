"""Ends what a local Ray leaves behind when the process that started it is killed.

Ray's own reaper ends its daemons, but agents that a raylet started stay for ever when the driver gets
SIGKILL. A guardian is a small process of its own that waits for the driver's end of a pipe to close,
which it does however the driver dies, waits for the driver itself to be gone (an interpreter that ends
closes the pipe first and may take its time for the rest), and then kills what still belongs to the
driver's Ray: processes whose command line or open files name the folder that this Ray was given. Should
the guardian be killed too, the next local Ray sweeps the folders whose driver is gone.

Run as a program with nothing but the standard library: `python -S -E guardian.py FOLDER`.
"""

import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

ROOT = "evomerge-ray"
DRIVER_FILE = "driver"
_GRACE_SECONDS = 3.0
_SWEEP_SECONDS = 15.0
_PAUSE_SECONDS = 0.3
_guardians: list[subprocess.Popen[bytes]] = []


def guarded_folder(parent: Path) -> Path:
    """A new folder for one local Ray's files, whose processes end with this process.

    Short on purpose: Ray's sockets lie in it, and their paths may have 107 characters.
    """
    root = parent / f"{ROOT}-{os.getuid()}"
    root.mkdir(mode=0o700, exist_ok=True)
    sweep_abandoned(root)
    folder = Path(tempfile.mkdtemp(dir=root, prefix=""))
    (folder / DRIVER_FILE).write_text(f"{os.getpid()} {_started(os.getpid())}", encoding="ascii")
    guardian = subprocess.Popen(
        [sys.executable, "-S", "-E", __file__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _guardians.append(guardian)  # its pipe must stay open as long as this process lives
    return folder


def sweep_abandoned(root: Path) -> None:
    """Kill what is left in the folders below `root` whose driver is gone."""
    for note in root.glob(f"*/{DRIVER_FILE}"):
        with suppress(OSError, ValueError):
            if not _driver_lives(note.parent):
                sweep(note.parent, 0.0)


def _driver_lives(folder: Path) -> bool:
    """Whether the process that `folder` was given to is still there, and not another of its number."""
    pid, started = (folder / DRIVER_FILE).read_text(encoding="ascii").split()
    return _started(int(pid)) == started


def sweep(folder: Path, seconds: float = _SWEEP_SECONDS) -> None:
    """Kill the folder's processes until none is left, or `seconds` are over; then sign it off."""
    deadline = time.monotonic() + seconds
    while True:
        members = [pid for pid in _pids() if _belongs(pid, str(folder))]
        for pid in members:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        if not members or time.monotonic() > deadline:
            break
        time.sleep(_PAUSE_SECONDS)
    with suppress(OSError):
        (folder / DRIVER_FILE).unlink()


def _pids() -> list[int]:
    own = os.getpid()
    listed = (int(entry.name) for entry in Path("/proc").glob("[0-9]*"))
    return [pid for pid in listed if pid != own]


def _belongs(pid: int, folder: str) -> bool:
    process = Path(f"/proc/{pid}")
    try:
        if folder.encode() in (process / "cmdline").read_bytes():
            return True
        return any(_target(link).startswith(f"{folder}/") for link in (process / "fd").iterdir())
    except OSError:
        return False


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


def _started(pid: int) -> str:
    """When a process began, in clock ticks since boot; empty where there is none, or only a zombie."""
    try:
        line = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
    state, *rest = line.rpartition(")")[2].split()
    return "" if state in {"Z", "X"} else rest[18]


def main() -> None:
    """Wait for the driver to end, give Ray a moment to end by itself, and sweep."""
    folder = Path(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the driver decides, not the terminal
    sys.stdin.buffer.read()
    with suppress(OSError, ValueError):
        while _driver_lives(folder):
            time.sleep(_PAUSE_SECONDS)
    deadline = time.monotonic() + _GRACE_SECONDS
    while time.monotonic() < deadline and any(_belongs(pid, str(folder)) for pid in _pids()):
        time.sleep(_PAUSE_SECONDS)
    sweep(folder)


if __name__ == "__main__":
    main()
