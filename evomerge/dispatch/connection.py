"""Joining a Ray cluster, or starting a local one that ends with this process."""

import os
import socket
from pathlib import Path
from typing import Any

import ray
from ray._common.utils import get_default_system_temp_dir

from evomerge.dispatch.guardian import guarded_folder
from evomerge.errors import ResourceError
from evomerge.platforms import require_posix

NAMESPACE = "evomerge"
_OBJECT_STORE_BYTES = 100 * 2**20
"""Recipes and results are small: the weights never pass through Ray's object store."""
_SETTINGS = {
    # A lost head is noticed in seconds instead of a minute.
    "RAY_gcs_rpc_server_reconnect_timeout_s": "10",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_DEDUP_LOGS": "0",
}
_QUIET: dict[str, Any] = {
    "namespace": NAMESPACE,
    "log_to_driver": False,
    "logging_level": "error",
}
_REMEDIES = (
    (
        "version mismatch",
        "use the cluster's Python and Ray here: `ray --version` on both, the images in docker/ agree",
    ),
    (
        "auth",
        "set RAY_AUTH_MODE=token and the cluster's own RAY_AUTH_TOKEN here too",
    ),
)


def connect(address: str | None, cpus: float | None = None) -> None:
    """Join the cluster at `address`, or start a local Ray with room for `cpus`.

    Does nothing inside a Ray worker. Raises ResourceError where the address does not answer, or does
    not let this process in.
    """
    if ray.is_initialized():
        return
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        if address is not None:
            _probe(address)
            ray.init(address=address, **_QUIET)
        else:
            _start_local(cpus)
    except Exception as error:  # Ray raises a bare Exception where a node does not come up
        raise ResourceError(
            f"no Ray cluster can be used ({' '.join(str(error).split())[:300]})",
            where=f"--address {address}" if address else "local Ray",
            remedy=_remedy(str(error)),
        ) from error


def _start_local(cpus: float | None) -> None:
    require_posix("a local Ray")
    # "local" ignores a cluster that happens to run on this machine, and RAY_ADDRESS.
    ray.init(
        address="local",
        _temp_dir=str(guarded_folder(Path(get_default_system_temp_dir()))),
        include_dashboard=False,
        num_cpus=max(int(cpus or 0), os.cpu_count() or 1),
        object_store_memory=_OBJECT_STORE_BYTES,
        **_QUIET,
    )


def _remedy(problem: str) -> str:
    """What to do about a complaint of Ray's."""
    for words, remedy in _REMEDIES:
        if words in problem.lower():
            return remedy
    return (
        "start one with `ray start --head`, or leave --address out to run here; "
        "from a machine that is no node of the cluster, ray://HEAD:10001"
    )


def _probe(address: str) -> None:
    """Raise OSError where nothing listens: Ray itself would wait, and then end this process."""
    place = address.removeprefix("ray://")
    if place.rpartition(":")[2].isdigit() and ":" in place:
        reach(place, seconds=10)


def reach(place: str, seconds: float) -> None:
    """Raise OSError where nothing listens at HOST:PORT, ValueError where that is no such thing."""
    host, _, port = place.rpartition(":")
    socket.create_connection((host.strip("[]"), int(port)), timeout=seconds).close()
