"""Options that several commands share."""

import os
from pathlib import Path
from typing import Annotated

import typer

from evomerge.cli.output import Format

StoreOption = Annotated[
    str | None,
    typer.Option(
        "--store",
        envvar="EVOMERGE_STORE",
        show_envvar=True,
        metavar="URL",
        help="Database: a file name, sqlite:///FILE or postgresql://USER:PASSWORD@HOST/NAME.",
    ),
]
ServerOption = Annotated[
    str | None,
    typer.Option(
        "--server",
        envvar="EVOMERGE_SERVER",
        show_envvar=True,
        metavar="URL",
        help="Ask this server instead of a store; EVOMERGE_TOKEN holds its token.",
    ),
]
FormatOption = Annotated[Format, typer.Option("--format", help="For people or for programs.")]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", metavar="HOST:PORT", help="An existing Ray cluster, or `auto`."),
]
InlineOption = Annotated[
    bool, typer.Option("--inline", help="One worker in this process, without Ray.")
]


def _checked_sinks(given: list[str] | None) -> list[str] | None:
    if given:
        from evomerge.observe.sinks.make import check_sinks

        check_sinks(given)
    return given


def use_sinks(given: list[str] | None) -> None:
    """Sinks of the searches that this process controls from now on, or gives to a cluster."""
    if given:
        from evomerge.observe.sinks import VARIABLE

        os.environ[VARIABLE] = ",".join(given)


SinkOption = Annotated[
    list[str] | None,
    typer.Option(
        "--sink",
        callback=_checked_sinks,
        metavar="KIND:TARGET",
        help="Also write to tensorboard:FOLDER, wandb:PROJECT or mlflow:URI; may be repeated.",
    ),
]
SearchFile = Annotated[Path, typer.Argument(metavar="FILE", help="The search file (YAML).")]
SearchArgument = Annotated[
    str, typer.Argument(metavar="SEARCH", help="Id of the search, its beginning, or its name.")
]
