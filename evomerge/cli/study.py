"""`study`: merge methods compared by the protocols of the literature, from one file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evomerge.cli.options import AddressOption, InlineOption, StoreOption
from evomerge.cli.output import note

if TYPE_CHECKING:
    from evomerge.study.run import StudyResult
    from evomerge.study.spec import StudySpec


def study(
    file: Annotated[
        str,
        typer.Argument(metavar="FILE", help="A study file (YAML), or the name of a ready study."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FOLDER", help="Where results are kept; NAME-study by default."
        ),
    ] = None,
    address: AddressOption = None,
    store: StoreOption = None,
    inline: InlineOption = False,
) -> None:
    """Run a study, or go on with it where it was stopped, and report what it found."""
    from evomerge.study.files import find_study, load_study

    spec = load_study(find_study(file), _zoo)
    folder = out or Path(f"{spec.name}-study")
    folder.mkdir(parents=True, exist_ok=True)
    result = _run(spec, folder, store or str(folder / "study.db"), address, inline)
    from evomerge.cli.study_tables import print_study

    print_study(result)


def _zoo(name: str) -> Path:
    """The study's zoo; trained now unless it is there."""
    from evomerge.cli.demo import shares
    from evomerge.study.zoos import zoo_folder

    with shares(f"preparing the zoo {name}") as progress:
        return zoo_folder(name, progress)


def _run(
    spec: StudySpec, folder: Path, store: str, address: str | None, inline: bool
) -> StudyResult:
    from evomerge.cli.stores import store_at
    from evomerge.study.bench import Where
    from evomerge.study.run import run_study

    with store_at(store, create=True) as opened:
        where = Where(opened, address, inline)
        return run_study(
            spec,
            folder,
            where,
            lambda what, done, total: note(f"[{done + 1}/{total}] {what}"),
            note,
        )
