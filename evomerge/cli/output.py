"""Tables for people, JSON for programs: stdout carries results alone."""

import csv
import dataclasses
import json
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, redirect_stdout
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_WIDE = 200
_SPACE = 2
"""Letters between two columns."""
_WORD = 12
"""Longer words (paths, ids, JSON) may be broken in a table."""


class Format(StrEnum):
    """How results are written."""

    TABLE = "table"
    JSON = "json"


class BestFormat(StrEnum):
    """How the best recipes are written."""

    TABLE = "table"
    JSON = "json"
    YAML = "yaml"


class QueryFormat(StrEnum):
    """How rows of a query are written."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def stdout() -> Console:
    """Where results go. Into a pipe, lines are as long as they need to be."""
    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else _WIDE
    return Console(file=sys.stdout, highlight=False, width=wide, soft_wrap=False)


def stderr() -> Console:
    """Where progress, notes and errors go; long lines are left to the terminal."""
    return Console(file=sys.stderr, highlight=False, soft_wrap=True)


def others_to_stderr() -> AbstractContextManager[object]:
    """While engines and workers run: what libraries print goes to stderr, as Ray's word of a lost worker."""
    return redirect_stdout(sys.stderr)


def note(text: str) -> None:
    """A line for the person who watches."""
    stderr().print(text, markup=False)


def print_json(value: Any) -> None:
    """One JSON value on stdout, and nothing else; NaN and infinity become null."""
    sys.stdout.write(json.dumps(plain(value), indent=2, ensure_ascii=False) + "\n")
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """`value` as JSON knows it."""
    if value is None or isinstance(value, bool | int | str):
        return value.value if isinstance(value, Enum) else value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return _plain_object(value)


def _plain_object(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if hasattr(value, "model_dump"):
        return plain(value.model_dump(mode="json"))
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, datetime):
        return value.isoformat()
    return [plain(item) for item in value] if isinstance(value, Iterable) else str(value)


def print_rows(columns: Sequence[str], rows: Sequence[Sequence[Any]], format: QueryFormat) -> None:
    """The answer to a query."""
    if format is QueryFormat.JSON:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif format is QueryFormat.CSV:
        csv.writer(sys.stdout).writerows([columns, *rows])
    else:
        print_table(columns, rows)


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    title: str | None = None,
    right: Iterable[str] = (),
    bold: int | None = None,
) -> None:
    """A table; columns named in `right` are aligned to the right, row `bold` is set in bold.

    Where the terminal is too narrow for whole words, each row becomes a list of its own.
    """
    cells, aligned, console = [[cell(x) for x in row] for row in rows], set(right), stdout()
    if _least_width(columns, cells, aligned) > console.width:
        _print_records(console, columns, cells, title, bold)
        return
    table = _table(title)
    for column in columns:
        # Long names over figures are folded, not cut: the figures below need less room.
        if column in aligned:
            table.add_column(escape(column), justify="right", overflow="fold")
        else:
            # What stands beside a name alone is shown whole: paths above all.
            pair = len(columns) == 2 and column == columns[-1]
            table.add_column(escape(column), overflow="fold" if pair else "ellipsis")
    for place, row in enumerate(cells):
        table.add_row(*map(escape, row), style="bold" if place == bold else None)
    console.print(table)


def _table(title: str | None = None, *, header: bool = True) -> Table:
    return Table(
        title=title,
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, _SPACE, 0, 0),
        show_header=header,
    )


def _least_width(columns: Sequence[str], cells: Sequence[Sequence[str]], right: set[str]) -> int:
    """Letters that a table needs if no word is broken; very long words and heads of figures are."""

    def needed(place: int, name: str) -> int:
        texts = [row[place] for row in cells] + ([] if name in right else [name])
        return max((len(word) for text in texts for word in text.split()), default=1)

    widths = [min(needed(place, name), _WORD) for place, name in enumerate(columns)]
    return sum(widths) + _SPACE * (len(columns) - 1)


def _print_records(
    console: Console,
    columns: Sequence[str],
    cells: Sequence[Sequence[str]],
    title: str | None,
    bold: int | None,
) -> None:
    """One row after another, a line for each column that has something to say."""
    if title:
        console.print(title, style="italic", markup=False)
    for place, row in enumerate(cells):
        table = _table(header=False)
        table.add_column(no_wrap=True, max_width=console.width // 2)
        table.add_column(overflow="fold")
        for name, text in zip(columns, row, strict=True):
            if text not in ("", "-"):
                table.add_row(escape(name), escape(text), style="bold" if place == bold else None)
        if place:
            console.print()
        console.print(table)


def cell(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}" if math.isfinite(value) else str(value)
    if isinstance(value, datetime):
        return value.astimezone().strftime("%Y-%m-%d %H:%M")
    return str(value)
