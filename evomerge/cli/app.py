"""All commands, in the order in which a user meets them."""

import shutil
from typing import Annotated

import typer

from evomerge import __version__
from evomerge.cli import (
    answers,
    best,
    calibrate,
    control,
    dam,
    database,
    demo,
    doctor,
    follow,
    importing,
    init,
    insight,
    inspect,
    maintenance,
    merge,
    plan,
    recipe,
    run,
    serve,
    soup,
    study,
    token,
)
from evomerge.telemetry import logs
from evomerge.telemetry.logs import LogFormat, LogLevel

_FRAMES_FROM = 60
"""Columns from which on help has frames; below, they would cut the names of options short."""
_WIDE = shutil.get_terminal_size().columns >= _FRAMES_FROM

app = typer.Typer(
    name="evomerge",
    rich_markup_mode="rich" if _WIDE else None,
    help="Evolutionary merge search for language models.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 done, 1 failed, 2 your mistake, 70 our fault, 130 interrupted.",
)

SEARCHING, FOLLOWING, ANSWERS, TOOLS = "Search", "Follow and steer", "Answers", "Tools"


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"evomerge {__version__}")
        raise typer.Exit


@app.callback()
def _global(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
    log_format: Annotated[
        LogFormat | None,
        typer.Option("--log-format", help="Log to stderr: lines for people, or JSON."),
    ] = None,
    log_level: Annotated[
        LogLevel | None, typer.Option("--log-level", help="What is worth a line of the log.")
    ] = None,
) -> None:
    """Evolutionary merge search for language models."""
    if log_format or log_level or logs.wanted():
        logs.configure_logs(log_format, log_level)


app.command("demo", rich_help_panel=SEARCHING)(demo.demo)
app.command("init", rich_help_panel=SEARCHING)(init.init)
app.command("import", rich_help_panel=SEARCHING)(importing.import_config)
app.command("inspect", rich_help_panel=SEARCHING)(inspect.inspect)
app.command("run", rich_help_panel=SEARCHING)(run.run)
app.command("submit", rich_help_panel=SEARCHING)(run.submit)
app.command("validate", rich_help_panel=SEARCHING)(run.validate)
app.command("plan", rich_help_panel=SEARCHING)(plan.plan)
app.command("resume", rich_help_panel=SEARCHING)(run.resume)
app.command("soup", rich_help_panel=SEARCHING)(soup.soup)
app.command("study", rich_help_panel=SEARCHING)(study.study)
app.command("status", rich_help_panel=FOLLOWING)(follow.status)
app.command("list", rich_help_panel=FOLLOWING)(follow.list_searches)
app.command("watch", rich_help_panel=FOLLOWING)(follow.watch)
app.command("pause", rich_help_panel=FOLLOWING)(control.pause)
app.command("cancel", rich_help_panel=FOLLOWING)(control.cancel)
app.command("edit", rich_help_panel=FOLLOWING)(control.edit)
app.command("best", rich_help_panel=ANSWERS)(best.best)
app.command("query", rich_help_panel=ANSWERS)(answers.query)
app.command("report", rich_help_panel=ANSWERS)(answers.report)
app.command("insight", rich_help_panel=ANSWERS)(insight.insight)
app.command("export", rich_help_panel=ANSWERS)(answers.export)
app.command("merge", rich_help_panel=TOOLS)(merge.merge)
app.command("calibrate", rich_help_panel=TOOLS)(calibrate.calibrate)
app.command("dam", rich_help_panel=TOOLS)(dam.dam)
app.add_typer(recipe.recipes, name="recipe", rich_help_panel=TOOLS)
app.command("serve", rich_help_panel=TOOLS)(serve.serve)
app.add_typer(token.tokens, name="token", rich_help_panel=TOOLS)
app.add_typer(token.owners, name="owner", rich_help_panel=TOOLS)
app.command("doctor", rich_help_panel=TOOLS)(doctor.doctor)
app.command("schema", rich_help_panel=TOOLS)(maintenance.schema)
app.add_typer(database.db, name="db", rich_help_panel=TOOLS)
