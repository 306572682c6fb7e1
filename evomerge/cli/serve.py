"""`serve`: the HTTP API, the dashboard, and the queue that runs what is submitted."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evomerge.cli.options import AddressOption, StoreOption
from evomerge.cli.output import note
from evomerge.errors import ResourceError, UsageError

if TYPE_CHECKING:
    from evomerge.api.settings import ServerSettings
    from evomerge.store import SQLStore

_Folders = list[Path] | None


def serve(
    store: StoreOption = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535)] = 8321,
    address: AddressOption = None,
    inline: Annotated[
        bool, typer.Option("--inline", help="One worker in each controller, without Ray.")
    ] = False,
    max_running: Annotated[
        int, typer.Option("--max-running", min=1, help="Searches at a time.")
    ] = 4,
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="Of all searches together.")
    ] = None,
    api_only: Annotated[
        bool, typer.Option("--api-only", help="Run no searches: another server does.")
    ] = False,
    model_folder: Annotated[
        _Folders,
        typer.Option("--model-folder", help="Models of searches lie below; repeatable."),
    ] = None,
    task_folder: Annotated[
        _Folders, typer.Option("--task-folder", help="Task files lie below; repeatable.")
    ] = None,
    export_folder: Annotated[
        Path | None, typer.Option("--export-folder", help="Candidates are exported below.")
    ] = None,
    hub: Annotated[
        bool, typer.Option("--hub/--no-hub", help="Whether searches may name models of the hub.")
    ] = True,
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", metavar="NAME", help="A name of this server; repeatable."),
    ] = None,
    private: Annotated[
        bool, typer.Option("--private", help="Owners see their own searches alone.")
    ] = False,
    allow_remote_code: Annotated[
        bool, typer.Option("--allow-remote-code", help="Searches may set trust_remote_code.")
    ] = False,
    allow_entry_points: Annotated[
        bool, typer.Option("--allow-entry-points", help="Objectives and methods of packages.")
    ] = False,
    allow_runtime_env: Annotated[
        bool, typer.Option("--allow-runtime-env", help="Searches may set workers.runtime_env.")
    ] = False,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", help="Certificate (PEM).")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", help="Its key (PEM).")] = None,
    proxy: Annotated[
        str | None,
        typer.Option("--proxy", metavar="ADDRESS", help="A proxy with TLS in front of it."),
    ] = None,
) -> None:
    """Serve the HTTP API and the dashboard, and run what is submitted."""
    from evomerge.api.settings import ServerSettings
    from evomerge.queue.settings import QueueSettings
    from evomerge.store import open_store

    _check_tls(tls_cert, tls_key)
    queue = QueueSettings(running=max_running, workers=workers, address=address, inline=inline)
    settings = ServerSettings(
        host=host,
        port=port,
        allowed_hosts=tuple(allow_host or ()),
        model_folders=_model_folders(model_folder, host),
        task_folders=_existing(task_folder or [], "--task-folder"),
        export_folder=export_folder,
        hub=hub,
        trust_remote_code=allow_remote_code,
        entry_points=allow_entry_points,
        runtime_env=allow_runtime_env,
        private=private,
        https=tls_cert is not None or proxy is not None,
        proxied=proxy is not None,
        queue=queue,
    )
    opened = open_store(store)
    try:
        _check_exposure(settings, opened)
    finally:
        opened.close()
    _run(opened.url, settings, schedule=not api_only, tls=(tls_cert, tls_key), proxy=proxy)


def _model_folders(given: _Folders, host: str) -> tuple[Path, ...]:
    """What was named; on loopback this folder, since its user could read everything anyway."""
    from evomerge.api.settings import is_loopback

    if given is None and is_loopback(host):
        note(f"models of submitted searches lie below {Path.cwd()} (--model-folder names others)")
        return (Path.cwd(),)
    return _existing(given or [], "--model-folder")


def _existing(folders: list[Path], option: str) -> tuple[Path, ...]:
    for folder in folders:
        if not folder.is_dir():
            raise UsageError("no such folder", where=f"{option} {folder}", remedy="check the path")
    return tuple(folder.resolve() for folder in folders)


def _check_tls(certificate: Path | None, key: Path | None) -> None:
    if (certificate is None) != (key is None):
        raise UsageError(
            "certificate and key belong together", where="--tls-cert", remedy="name --tls-key too"
        )
    for file in (certificate, key):
        if file is not None and not file.is_file():
            raise UsageError("no such file", where=str(file), remedy="check the path")


def _check_exposure(settings: ServerSettings, store: SQLStore) -> None:
    """Whoever reaches a server that asks for no token may do everything: only this machine may."""
    open_to_others = not settings.loopback or settings.proxied
    if open_to_others and not store.has_tokens():
        raise UsageError(
            "others could reach this server, and the store has no token yet",
            where=f"--host {settings.host}",
            remedy="make one first: evomerge token create --owner NAME --scope admin",
        )
    if not settings.loopback and not settings.https:
        note(
            "warning: without TLS, tokens and results can be read on the network; "
            "give --tls-cert and --tls-key, or put a proxy with TLS before it (--proxy ADDRESS)"
        )


def _run(
    store_url: str,
    settings: ServerSettings,
    *,
    schedule: bool,
    tls: tuple[Path | None, Path | None],
    proxy: str | None,
) -> None:
    from evomerge.api.serving import run

    _check_port(settings.host, settings.port)
    scheme = "https" if tls[0] else "http"
    note(f"evomerge serves {scheme}://{_shown(settings.host)}:{settings.port}; stop with Ctrl-C")
    run(store_url, settings, schedule=schedule, tls=tls, proxy=proxy)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _check_port(host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ResourceError(
                f"cannot listen there: {error.strerror}",
                where=f"{host}:{port}",
                remedy="choose another --port, or end what listens there",
            ) from error
