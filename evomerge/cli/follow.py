"""`status`, `list`, `watch`: looking at searches, wherever they run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomerge.cli.exits import FAILED
from evomerge.cli.options import FormatOption, SearchArgument, ServerOption, StoreOption
from evomerge.cli.output import Format, cell, note, print_json, print_table

if TYPE_CHECKING:
    from evomerge.store import SQLStore
    from evomerge.store.types import SearchRecord


def status(
    search: SearchArgument,
    store: StoreOption = None,
    server: ServerOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """How far a search is, its best candidate so far, its failures and versions."""
    described = _describe(search, store, server)
    if format is Format.JSON:
        print_json(described)
        return
    rows = [(key.replace("_", " "), _one_line(value)) for key, value in described.items()]
    print_table(["search", described["search"]], [row for row in rows[1:] if row[1]])


def _describe(search: str, store: str | None, server: str | None) -> dict[str, Any]:
    from evomerge.cli import remote
    from evomerge.cli.stores import store_at
    from evomerge.results.status import describe

    if server is not None:
        return remote.status(server, search)
    with store_at(store) as opened:
        return describe(opened, opened.search(search))


def _one_line(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{key} {item}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "" if value is None else cell(value)


def list_searches(
    store: StoreOption = None, server: ServerOption = None, format: FormatOption = Format.TABLE
) -> None:
    """All searches of the store, newest first."""
    rows = _list(store, server)
    if format is Format.JSON:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        note("no searches yet; start one with: evomerge run FILE")


def _list(store: str | None, server: str | None) -> list[dict[str, Any]]:
    from evomerge.cli import remote
    from evomerge.cli.stores import store_at
    from evomerge.results.status import summarise

    if server is not None:
        return remote.searches(server)
    with store_at(store) as opened:
        return [summarise(record) for record in opened.searches()]


def watch(
    search: SearchArgument,
    store: StoreOption = None,
    server: ServerOption = None,
    interval: Annotated[
        float, typer.Option("--interval", min=0.1, help="Seconds between two looks.")
    ] = 1.0,
    format: FormatOption = Format.TABLE,
) -> None:
    """Follow a search until it stops, wherever it runs; Ctrl-C stops the watching alone."""
    from evomerge.cli.following import follow
    from evomerge.cli.stores import store_at
    from evomerge.store.types import SearchStatus

    if server is not None:
        from evomerge.cli import remote

        remote.watch(server, search, format)
        return
    with store_at(store) as opened:
        record = follow(opened, opened.search(search), interval)
        note(
            f"search {record.id} is {record.status}"
            + (f": {record.message}" if record.message else "")
        )
        if record.status is SearchStatus.FINISHED:
            _show(opened, record, format)
        if record.status is SearchStatus.FAILED:
            raise typer.Exit(FAILED)


def _show(store: SQLStore, search: SearchRecord, format: Format) -> None:
    from evomerge.cli.tables import print_results
    from evomerge.results import read_results

    print_results(read_results(store, search), format)
