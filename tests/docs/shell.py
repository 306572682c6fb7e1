"""Shell blocks of the documentation, taken apart: each command beside what would refuse it.

`evomerge` goes through the real command line's parser (commands, options, values, numbers of
arguments) and is not run. Of other programs that belong to the repository (make, its benchmarks, pip
with our extras) what they name has to be there; of the rest, files of the repository.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import typer.main
from packaging.requirements import Requirement
from typer.core import TyperGroup

from evomerge.cli.app import app
from tests.docs.blocks import ROOT

_ASSIGNMENT = re.compile(r"[A-Z_][A-Z0-9_]*=.*")
_ENDS = ("|", "||", "&&", ";", "&")
OUTSIDE = frozenset(
    [
        "apptainer",
        "cd",
        "cp",
        "curl",
        "docker",
        "export",
        "git",
        "helm",
        "kubectl",
        "mergekit-yaml",
        "mkdir",
        "mlflow",
        "psql",
        "ray",
        "sbatch",
        "scancel",
        "scp",
        "singularity",
        "source",
        "squeue",
        "srun",
        "ssh",
        "tensorboard",
        "tar",
        "uv",
        "wandb",
        "xdg-open",
    ]
)
"""Programs that are not ours."""


def commands(text: str) -> Iterator[list[str]]:
    """The simple commands of a block, without comments, variables before them, and redirections."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars="|&;<>")
        lexer.whitespace_split = True
        yield from _simple(list(lexer))


def _simple(words: list[str]) -> Iterator[list[str]]:
    command: list[str] = []
    skip = False
    for word in [*words, ";"]:
        if word in _ENDS:
            while command and _ASSIGNMENT.fullmatch(command[0]):
                command.pop(0)
            if command:
                yield command
            command = []
        elif word in (">", ">>", "<", "2>"):
            skip = True
        elif skip:
            skip = False
        else:
            command.append(word)


def complaint(command: list[str]) -> str | None:
    """What is wrong with a command; None where nothing is."""
    program, *arguments = command
    known: dict[str, Callable[[list[str]], str | None]] = {
        "evomerge": evomerge_complaint,
        "make": _make_complaint,
        "python": _python_complaint,
        "pip": _pip_complaint,
    }
    if program in known:
        return known[program](arguments)
    if program.startswith(("./", "bash", "sh")) or "/" in program:
        return _path_complaint(command)
    return None if program in OUTSIDE else f"unknown program {program!r}"


@cache
def _program() -> Any:
    return typer.main.get_command(app)


def evomerge_complaint(arguments: list[str]) -> str | None:
    """What the parser of `evomerge` says against these arguments; nothing is run."""
    try:
        _parse(arguments)
        return None
    except Exception as error:  # typer brings click's exceptions under names of its own
        said = getattr(error, "format_message", None)
        if said is None and type(error).__name__ != "Exit":
            raise
        return said() if said else None


def _parse(arguments: list[str]) -> None:
    command, context = _program(), None
    while True:
        context = command.make_context(command.name, list(arguments), parent=context)
        rest = [*context._protected_args, *context.args]
        if not isinstance(command, TyperGroup) or not rest:
            return
        _, command, arguments = command.resolve_command(context, rest)


def _make_complaint(arguments: list[str]) -> str | None:
    rules = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {
        word for line in re.findall(r"^([\w .-]+):", rules, re.MULTILINE) for word in line.split()
    }
    wrong = [word for word in arguments if "=" not in word and word not in targets]
    return f"no target {wrong} in the Makefile" if wrong else None


def _python_complaint(arguments: list[str]) -> str | None:
    if arguments[:1] == ["-m"]:
        module = arguments[1]
        file = ROOT / (module.replace(".", "/") + ".py")
        if module.split(".")[0] not in ("benchmarks", "tests", "evomerge"):
            return None
    else:
        file = ROOT / arguments[0]
        if not (ROOT / file.parts[len(ROOT.parts)]).is_dir():
            return None  # the reader's own script
    if not file.exists() and not (file.with_suffix("") / "__main__.py").exists():
        return f"no {file.relative_to(ROOT)}"
    return _options_complaint(file, arguments)


def _options_complaint(file: Path, arguments: list[str]) -> str | None:
    if not file.exists():
        return None
    source = file.read_text(encoding="utf-8")
    options = [word.split("=")[0] for word in arguments if word.startswith("--")]
    wrong = [word for word in options if word not in source]
    return f"{file.relative_to(ROOT)} takes no {wrong}" if wrong else None


def _pip_complaint(arguments: list[str]) -> str | None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for word in arguments:
        if word.startswith("evomerge"):
            wrong = Requirement(word).extras - project["optional-dependencies"].keys()
            if wrong:
                return f"evomerge has no extra {sorted(wrong)}"
    return None


def _path_complaint(command: list[str]) -> str | None:
    """Files of the repository's own folders are there."""
    for word in command:
        first = word.removeprefix("./").split("/")[0]
        ours = "/" in word and first in ("workers", "docker", "examples", "requirements", "docs")
        if ours and not (ROOT / word.removeprefix("./")).exists():
            return f"no {word}"
    return None
