"""Does a Ray cluster let anybody in? Whoever is let in runs code on every node of it.

Asked as a stranger would: without a token, from a process of its own, because the mode of
authentication is settled once in a process. Run as a program it is that stranger.
"""

import os
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ray._common.utils import get_default_system_temp_dir

from evomerge.dispatch.connection import reach

DASHBOARD_PORT = 8265
_OPEN, _CLOSED, _NOBODY = 10, 11, 12
"""Exit codes of the stranger."""
_SECONDS = 5.0


@dataclass(frozen=True)
class Door:
    """A way into a cluster, and whether it is open to anybody, closed, or not there at all."""

    what: str
    where: str
    is_open: bool
    is_there: bool = True


def doors(address: str | None) -> Iterator[Door]:
    """The doors of the cluster at `address`, or of what this machine's Ray says is running here.

    The dashboard is looked for on its usual port, on this machine and on the cluster's head.
    """
    hosts = ["127.0.0.1"]
    for one in [address] if address else known_here():
        yield gcs(one)
        hosts.append(one.rpartition(":")[0].strip("[]"))
    for host in dict.fromkeys(hosts):
        yield dashboard(f"http://{host}:{DASHBOARD_PORT}")


def known_here() -> list[str]:
    """Addresses of clusters that RAY_ADDRESS or Ray's own note of the last one here name."""
    note = Path(get_default_system_temp_dir()) / "ray" / "ray_current_cluster"
    noted = note.read_text(encoding="utf-8").strip() if note.is_file() else ""
    found = (os.environ.get("RAY_ADDRESS", ""), noted)
    return [one for one in dict.fromkeys(found) if ":" in one and "//" not in one]


def gcs(address: str) -> Door:
    """Whether the head at `address` answers one who has no token."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("RAY_AUTH")}
    stranger = subprocess.run(
        [sys.executable, "-m", __name__, address],
        env={**own, "RAY_AUTH_MODE": "disabled"},
        capture_output=True,
        timeout=60,
        check=False,
    )
    is_there = stranger.returncode != _NOBODY
    return Door("Ray", address, stranger.returncode == _OPEN, is_there)


def dashboard(url: str) -> Door:
    """Whether Ray's dashboard at `url` takes jobs from one who has no token."""
    try:
        with urllib.request.urlopen(f"{url}/api/jobs/", timeout=_SECONDS) as answer:
            return Door("Ray's dashboard", url, answer.status == 200)
    except urllib.error.HTTPError:
        return Door("Ray's dashboard", url, is_open=False)
    except OSError:
        return Door("Ray's dashboard", url, is_open=False, is_there=False)


def _knock(address: str) -> int:
    from ray._raylet import GcsClient  # type: ignore[attr-defined]

    try:
        reach(address, _SECONDS)
    except (OSError, ValueError):
        return _NOBODY
    try:
        GcsClient(address=address).get_all_node_info(timeout=_SECONDS)
    except Exception:  # refused, in whichever of Ray's words
        return _CLOSED
    return _OPEN


if __name__ == "__main__":
    sys.exit(_knock(sys.argv[1]))
