"""Options that several commands share."""

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
SearchFile = Annotated[Path, typer.Argument(metavar="FILE", help="The search file (YAML).")]
SearchArgument = Annotated[
    str, typer.Argument(metavar="SEARCH", help="Id of the search, its beginning, or its name.")
]
