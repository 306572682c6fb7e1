"""`query`, `report`, `export`: what a search found, for other tools."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomerge.cli.options import FormatOption, SearchArgument, ServerOption, StoreOption
from evomerge.cli.output import (
    Format,
    QueryFormat,
    note,
    plain,
    print_json,
    print_rows,
    print_table,
)
from evomerge.errors import UsageError

if TYPE_CHECKING:
    from evomerge.store import SQLStore


def query(
    name: Annotated[
        str | None, typer.Argument(help="A query's name; without it, all are listed.")
    ] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="KEY=VALUE", help="Repeatable.")
    ] = None,
    store: StoreOption = None,
    server: ServerOption = None,
    format: Annotated[QueryFormat, typer.Option("--format")] = QueryFormat.TABLE,
) -> None:
    """Run one of the stored SQL questions."""
    if server is not None:
        from evomerge.cli import remote

        remote.query(server, name, dict(_key_value(text) for text in parameter or ()), format)
        return
    if name is None:
        _list_queries(format)
        return
    from evomerge.cli.stores import store_at

    parameters = dict(_key_value(text) for text in parameter or ())
    with store_at(store) as opened:
        columns, rows = opened.query(name, parameters)
    print_rows(columns, rows, format)


def _list_queries(format: QueryFormat) -> None:
    from evomerge.resources import resource_folder
    from evomerge.store.questions import load_query

    names = sorted(file.stem for file in (resource_folder("db") / "queries").glob("*.sql"))
    found = [load_query(name)[0] for name in names]
    if format is QueryFormat.JSON:
        print_json(found)
        return
    rows = [(info.name, " ".join(info.parameters), info.summary) for info in found]
    print_table(["query", "parameters", "what it answers"], rows)


def _key_value(text: str) -> tuple[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(
            f"{text!r} is no KEY=VALUE", where="--parameter", remedy="write -p search=quick-fox"
        )
    for number in (int, float):
        try:
            return key, number(value)
        except ValueError:
            continue
    return key, value


class ReportKind(StrEnum):
    """What a report is written as."""

    HTML = "html"
    JSON = "json"
    PNG = "png"


def report(
    search: SearchArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="PATH",
            help="Default: evomerge-SEARCH.html or .json; a folder for png.",
        ),
    ] = None,
    kind: Annotated[
        ReportKind,
        typer.Option("--as", help="A page, its data, or its charts as one PNG file each."),
    ] = ReportKind.HTML,
    store: StoreOption = None,
    server: ServerOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Write a report of a search: one HTML file that needs no network, or its data, or its charts."""
    search_id, files = _report_files(search, store, server, kind, out)
    if format is Format.JSON:
        places = [file.resolve() for file in files]
        print_json({"search": search_id, "report": places[0] if len(places) == 1 else places})
        return
    for file in files:
        note(f"report: {file}")


def _report_files(
    search: str, store: str | None, server: str | None, kind: ReportKind, out: Path | None
) -> tuple[str, list[Path]]:
    from evomerge.cli import remote
    from evomerge.cli.stores import store_at

    if server is not None:
        search_id, file = remote.report(server, search, kind.value, out)
        return search_id, [file]
    with store_at(store) as opened:
        record = opened.search(search)
        return record.id, _write_report(opened, record.id, kind, out)


def _write_report(store: SQLStore, search: str, kind: ReportKind, out: Path | None) -> list[Path]:
    from evomerge.report import write_figures, write_json, write_report

    if kind is ReportKind.PNG:
        return write_figures(store, search, out or Path(f"evomerge-{search}"))
    write = write_report if kind is ReportKind.HTML else write_json
    return [write(store, search, out or Path(f"evomerge-{search}.{kind.value}"))]


def export(
    candidate: Annotated[
        str, typer.Argument(help="A candidate's id, SEARCH:NUMBER, or SEARCH for its winner.")
    ],
    out: Annotated[
        Path,
        typer.Argument(metavar="OUT", help="A new or empty folder; with --server, its name there."),
    ],
    store: StoreOption = None,
    server: ServerOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Write a candidate as a checkpoint: weights, tokenizer, mergekit configuration, model card."""
    from evomerge.cli.progress import counted
    from evomerge.cli.stores import store_at
    from evomerge.export.candidates import export_candidate, find_candidate

    if server is not None:
        from evomerge.cli import remote

        remote.export(server, candidate, str(out), format)
        return
    with store_at(store) as opened:
        found = find_candidate(opened, candidate)
        with counted(f"merging {found.recipe_id} into {out}") as count:
            export_candidate(opened, found, out, progress=count, notify=note)
    if format is Format.JSON:
        print_json(
            plain({"candidate": found.id, "recipe_id": found.recipe_id, "out": out.resolve()})
        )
    else:
        note(f"{out} holds the merged model")
