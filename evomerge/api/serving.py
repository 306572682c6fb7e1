"""Runs an application with uvicorn until it is told to stop."""

from pathlib import Path

import uvicorn

from evomerge.api.app import make_app
from evomerge.api.settings import ServerSettings
from evomerge.telemetry.logs import configure_logs

_GRACE_SECONDS = 5
_CONNECTIONS = 1000


def run(
    store_url: str,
    settings: ServerSettings,
    *,
    schedule: bool,
    tls: tuple[Path | None, Path | None] = (None, None),
    proxy: str | None = None,
) -> None:
    """Serve; returns after Ctrl-C or SIGTERM, when the controllers have been ended too.

    Args:
        schedule: whether searches are run here. tls: certificate and key. proxy: the address whose
            word on the caller's own address is believed.
    """
    configure_logs(level="info")
    certificate, key = tls
    uvicorn.run(
        make_app(store_url, settings, schedule=schedule),
        host=settings.host,
        port=settings.port,
        ssl_certfile=certificate,
        ssl_keyfile=key,
        proxy_headers=proxy is not None,
        forwarded_allow_ips=proxy,
        server_header=False,
        access_log=False,
        log_level="warning",
        limit_concurrency=_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
    )
