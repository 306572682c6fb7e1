"""`study`: merge methods compared by the protocols of the literature, from one file."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evomerge.cli.exits import INTERRUPTED
from evomerge.cli.options import AddressOption, InlineOption, StoreOption
from evomerge.cli.output import note, others_to_stderr, print_json, print_table, stdout

if TYPE_CHECKING:
    from evomerge.study.plan import Plan
    from evomerge.study.run import StudyResult
    from evomerge.study.spec import StudySpec


_AGAIN = "the same command"


class StudyFormat(StrEnum):
    """How a study's findings are written."""

    TABLE = "table"
    JSON = "json"
    MARKDOWN = "markdown"


def study(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="A study file (YAML), or a ready study's name.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FOLDER", help="What is kept; NAME-study by default."),
    ] = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Print the merges that it consists of; run nothing.")
    ] = False,
    address: AddressOption = None,
    store: StoreOption = None,
    inline: InlineOption = False,
    format: Annotated[
        StudyFormat, typer.Option("--format", help="For people, for programs, for documents.")
    ] = StudyFormat.TABLE,
    json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
) -> None:
    """Run a study, or go on with it where it was stopped, and report what it found."""
    from evomerge.study.files import find_study, load_study
    from evomerge.study.plan import make_plan

    found, chosen = find_study(file), StudyFormat.JSON if json else format
    if plan:
        _show_plan(make_plan(load_study(found)), chosen)
        return
    spec = load_study(found, _zoo)
    folder = (out or Path(f"{spec.name}-study")).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        result = _run(spec, folder, store or str(folder / "study.db"), address, inline)
    except KeyboardInterrupt:
        note(f"the study is stopped; go on with: {_AGAIN}")
        raise typer.Exit(INTERRUPTED) from None
    _show(result, folder, chosen)


def _zoo(name: str, seed: int) -> Path:
    """The study's zoo; trained now unless it is there."""
    from evomerge.cli.demo import shares
    from evomerge.study.zoos import zoo_folder

    with shares(f"preparing the zoo {name}, training {seed}") as progress:
        return zoo_folder(name, seed, progress)


def _run(
    spec: StudySpec, folder: Path, store: str, address: str | None, inline: bool
) -> StudyResult:
    from evomerge.cli.interrupts import Interruptible, Interrupts
    from evomerge.cli.stores import store_at
    from evomerge.study.bench import Where
    from evomerge.study.run import run_study

    with (
        store_at(store, create=True) as opened,
        Interrupts(_AGAIN).listening() as interrupts,
        others_to_stderr(),
    ):
        where = Where(
            opened,
            address,
            inline,
            room=spec.workers.max * spec.workers.cpus,
            heeding=lambda workers: Interruptible(workers, interrupts),
            check=interrupts.check,
        )
        return run_study(spec, folder, where, _heard, note)


def _heard(what: str, done: int, total: int) -> None:
    note(f"{done + 1}/{total} {what}")


def _show(result: StudyResult, folder: Path, format: StudyFormat) -> None:
    from evomerge.cli.study_tables import print_study
    from evomerge.study.content import study_content
    from evomerge.study.tables import Tables
    from evomerge.study.words import markdown
    from evomerge.study.write import write_reports

    tables = Tables(result)
    page = write_reports(result, tables, folder)
    if format is StudyFormat.JSON:
        print_json(study_content(result, tables))
        return
    if format is StudyFormat.MARKDOWN:
        stdout().print(markdown(tables), markup=False, soft_wrap=True)
    else:
        print_study(tables)
    note(f"report  {page}")


def _show_plan(plan: Plan, format: StudyFormat) -> None:
    rows = [
        (cell.base.label, cell.entry.label, "+".join(str(n + 1) for n in cell.places), cell.seed)
        for cell in plan.cells
    ]
    skipped = [(one.cell.label, one.why) for one in plan.skipped]
    columns = ("base", "method", "experts", "seed")
    if format is StudyFormat.JSON:
        print_json({"cells": [_named(columns, row) for row in rows], "skipped": skipped})
        return
    print_table(columns, rows, title=f"{len(rows)} merges", right=("seed",))
    for what, why in skipped:
        note(f"left out: {what}: {why}")


def _named(columns: Sequence[str], row: Sequence[object]) -> dict[str, object]:
    return dict(zip(columns, row, strict=True))
