"""`import`: a search file from another tool's configuration."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from evomerge.cli.output import note
from evomerge.errors import UsageError


def import_config(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A mergekit-evolve configuration (YAML).")
    ],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Default: stdout.")
    ] = None,
    layers: Annotated[
        int | None,
        typer.Option("--layers", min=1, metavar="N", help="Layers of the models, if not here."),
    ] = None,
    candidates: Annotated[
        int, typer.Option("--candidates", min=1, help="The budget: --max-fevals there.")
    ] = 100,
    include_path: Annotated[
        Path | None,
        typer.Option("--include-path", metavar="FOLDER", help="--task-search-path there."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that exists.")] = False,
) -> None:
    """Write the search file that does what a mergekit-evolve configuration asks for."""
    from evomerge.importing import import_evolve

    if out is not None and out.exists() and not force:
        raise UsageError(
            "exists already", where=str(out), remedy="name another file, or add --force"
        )
    found = import_evolve(
        file,
        num_layers=layers,
        candidates=candidates,
        include_path=include_path,
        folder=Path() if out is None else out.parent,
    )
    for text in found.without_counterpart:
        note(f"no counterpart: {text}")
    if out is None:
        sys.stdout.write(found.text)
        return
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(found.text, encoding="utf-8")
    note(f"wrote {out}; next: evomerge validate {out}")
