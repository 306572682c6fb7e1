"""`db`: the database's version, backups and archives, for administrators."""

import re
from pathlib import Path
from typing import Annotated, Any

import typer

from evomerge.cli.options import FormatOption, StoreOption
from evomerge.cli.output import Format, note, print_json, print_table
from evomerge.errors import UsageError

db = typer.Typer(help="The database: its version, backups and archives.")

_DAYS = {"h": 1 / 24, "d": 1.0, "w": 7.0}


@db.command("upgrade")
def upgrade(store: StoreOption = None, format: FormatOption = Format.TABLE) -> None:
    """Bring a database to this version; makes it where there is none."""
    from evomerge.store import upgrade as upgrade_store

    upgrade_store(store)
    version(store, format)


@db.command("version")
def version(store: StoreOption = None, format: FormatOption = Format.TABLE) -> None:
    """The version of a database's schema."""
    from evomerge.store import current_revision

    revision = current_revision(store)
    if format is Format.JSON:
        print_json({"revision": revision})
    else:
        note("there is no schema yet: evomerge db upgrade" if revision is None else revision)


@db.command("backup")
def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A new file.")],
    store: StoreOption = None,
) -> None:
    """Write one moment of the database to a file, while searches run."""
    from evomerge.store.backup import backup as write_backup

    write_backup(store, file)
    note(f"{file}: {file.stat().st_size / 1e6:.1f} MB; back with: evomerge db restore {file}")


@db.command("restore")
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    store: StoreOption = None,
) -> None:
    """Make a database from a backup, in an empty place."""
    from evomerge.store import current_revision
    from evomerge.store.backup import restore as read_backup

    read_backup(file, store)
    note(f"restored, with schema {current_revision(store)}")


@db.command("archive")
def archive(
    to: Annotated[Path, typer.Option("--to", metavar="FOLDER", help="Where archives lie.")],
    older_than: Annotated[
        str, typer.Option("--older-than", metavar="TIME", help="Such as 90d, 12w or 36h.")
    ] = "90d",
    store: StoreOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Move per-document outcomes of searches that ended long ago into files."""
    from evomerge.cli.stores import store_at
    from evomerge.store.archive import archive as move

    with store_at(store) as opened:
        moved = [_shown(one) for one in move(opened, to, _days(older_than))]
    _print(moved, format, "no search ended that long ago")


@db.command("unarchive")
def unarchive(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="An archive of this store.")],
    store: StoreOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Put archived outcomes back into the database."""
    from evomerge.cli.stores import store_at
    from evomerge.store.archive import restore as put_back

    with store_at(store) as opened:
        _print([_shown(put_back(opened, file))], format, "")


@db.command("archives")
def archives(store: StoreOption = None, format: FormatOption = Format.TABLE) -> None:
    """Which searches' outcomes lie in files, and where."""
    from evomerge.cli.stores import store_at

    with store_at(store) as opened:
        found = [dict(vars(one)) for one in opened.archives()]
    _print(found, format, "nothing is archived")


def _days(text: str) -> float:
    parts = re.fullmatch(r"(\d+(?:\.\d+)?)([hdw])", text.strip())
    if parts is None:
        raise UsageError(
            f"{text!r} is no time", where="--older-than", remedy="write 90d, 12w or 36h"
        )
    return float(parts[1]) * _DAYS[parts[2]]


def _shown(moved: Any) -> dict[str, Any]:
    return {
        "search": moved.search_id,
        "outcomes": moved.outcomes,
        "file": "" if moved.file is None else str(moved.file),
        "kept because": moved.reason,
    }


def _print(rows: list[dict[str, Any]], format: Format, nothing: str) -> None:
    if format is Format.JSON:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        note(nothing)
