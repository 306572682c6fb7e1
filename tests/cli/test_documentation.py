"""docs/cli.md knows every command and every option."""

import re
from pathlib import Path

import pytest
import typer.main

from evomerge.cli.app import app

PAGE = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


def commands(group=None, path=("evomerge",)):
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


@pytest.mark.parametrize(
    ("path", "command"), commands(), ids=lambda x: " ".join(x) if type(x) is tuple else ""
)
def test_the_command_and_its_options_are_in_the_documentation(path, command):
    assert f"`{' '.join(path)}" in PAGE
    options = [name for p in command.params for name in (*p.opts, *p.secondary_opts)]
    missing = [name for name in options if name.startswith("-") and not mentioned(name)]
    assert missing == []


def test_the_options_of_the_program_itself_are_in_the_documentation():
    options = [name for p in typer.main.get_command(app).params for name in p.opts]
    assert [name for name in options if not mentioned(name)] == []


def test_the_documentation_names_no_option_that_is_not_there():
    known = {"--help", "-h", "--install-completion", "--show-completion"}
    known |= {name for p in typer.main.get_command(app).params for name in p.opts}
    for _, command in commands():
        known |= {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", PAGE)) <= known


def mentioned(name):
    return name in ("--help", "-h") or re.search(rf"(?<![\w-]){re.escape(name)}(?![\w-])", PAGE)
