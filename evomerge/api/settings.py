"""What an operator decides about a server: where it listens, whom it trusts with what."""

import ipaddress
from pathlib import Path

from pydantic import Field

from evomerge.queue.settings import QueueSettings
from evomerge.recipe import Frozen

LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


class RateLimits(Frozen):
    """Token buckets: `rate` requests a second in the long run, `burst` at once.

    failures: wrong credentials of one address a minute.
    """

    rate: float = Field(20.0, gt=0)
    burst: int = Field(100, gt=0)
    failures: int = Field(10, gt=0)


class ServerSettings(Frozen):
    """All settings of a server.

    allowed_hosts: names that the Host header may have beside `host` and loopback names.
    model_folders, task_folders: below which models, adapters, recipes and task files of submitted
    searches must lie; hub ids are allowed where `hub` says so. export_folder: below which candidates
    are exported. log_folder: for what controllers say; None: in the user's data folder.
    trust_remote_code, entry_points, runtime_env: whether search files may ask for code of model
    folders, for objectives and methods of installed packages, for what Ray sets up. private: owners
    see their own searches alone, admins all. max_body: bytes of a request. session_hours: how long a
    browser stays signed in. https: whether browsers reach the server by TLS. proxied: a proxy stands
    before it, so that what comes from loopback may come from anywhere.
    """

    host: str = "127.0.0.1"
    port: int = Field(8321, ge=0, le=65535)
    allowed_hosts: tuple[str, ...] = ()
    model_folders: tuple[Path, ...] = ()
    task_folders: tuple[Path, ...] = ()
    export_folder: Path | None = None
    log_folder: Path | None = None
    hub: bool = True
    trust_remote_code: bool = False
    entry_points: bool = False
    runtime_env: bool = False
    private: bool = False
    max_body: int = Field(1_000_000, gt=0)
    session_hours: float = Field(12.0, gt=0)
    https: bool = False
    proxied: bool = False
    rates: RateLimits = RateLimits()
    queue: QueueSettings = QueueSettings()

    @property
    def loopback(self) -> bool:
        """Whether only this machine reaches the server."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine alone."""
    if host.lower() in LOOPBACK_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
