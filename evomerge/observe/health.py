"""Can this process do its work? For load balancers, orchestrators and `doctor`.

Health is that the process answers at all. Readiness is that what it needs answers too: the store, in
this version's schema, and the Ray cluster where there is one.
"""

import socket
import time
from collections.abc import Callable
from dataclasses import dataclass

from evomerge.errors import EvomergeError, ResourceError
from evomerge.store import SQLStore, current_revision
from evomerge.store.migrate import check_revision
from evomerge.telemetry.redact import redact

_PATIENCE = 3.0


@dataclass(frozen=True)
class Check:
    """One thing that was looked at. `detail` holds no secret; `remedy` says what to do about it."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""
    seconds: float = 0.0


def readiness(store: SQLStore, address: str | None = None) -> list[Check]:
    """Everything that has to answer before this process can work. Ready: every check is `ok`.

    Args:
        address: of the Ray cluster that searches run on; None where each brings its own.
    """
    checks: list[tuple[str, Callable[[], str]]] = [
        ("store", lambda: _store_answers(store)),
        ("schema", lambda: _schema_is_current(store)),
    ]
    if address is not None:
        checks.append(("ray", lambda: ray_answers(address)))
    return [_check(name, look) for name, look in checks]


def ray_answers(address: str) -> str:
    """Where the cluster at `address` listens. ResourceError where nothing does."""
    if address == "auto":
        return "the cluster of this machine"
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_PATIENCE).close()
    except (OSError, ValueError) as error:
        raise ResourceError(
            f"no Ray cluster answers ({error})",
            where=address,
            remedy="start it with `ray start --head`, or mend --address",
        ) from error
    return f"{address} answers"


def _store_answers(store: SQLStore) -> str:
    before = time.perf_counter()
    store.clock()
    return f"answered in {1000 * (time.perf_counter() - before):.0f} ms"


def _schema_is_current(store: SQLStore) -> str:
    revision = current_revision(store.url)
    check_revision(revision, "the store")
    return f"schema {revision}"


def _check(name: str, look: Callable[[], str]) -> Check:
    before = time.perf_counter()
    try:
        detail, ok, remedy = look(), True, ""
    except EvomergeError as error:
        detail, ok, remedy = redact(error.message), False, error.remedy or ""
    return Check(name, ok, detail, remedy, time.perf_counter() - before)
