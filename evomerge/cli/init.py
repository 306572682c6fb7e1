"""`init`: a first search file, from three questions or from flags."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evomerge.cli.output import note
from evomerge.errors import Problems, UsageError

if TYPE_CHECKING:
    from evomerge.drafting import Answers
    from evomerge.inspection import Inspection

DEFAULT = "search.yml"


class Engine(StrEnum):
    """Engines that a file can be drafted for."""

    VLLM = "vllm"
    HF = "hf"
    FAKE = "fake"


def init(
    target: Annotated[
        Path, typer.Argument(metavar="[FILE|FOLDER]", help="Where the search file goes.")
    ] = Path(DEFAULT),
    base: Annotated[
        str | None, typer.Option("--base", metavar="MODEL", help="The base model.")
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option("--model", metavar="MODEL", help="A fine-tune of it; repeatable."),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", metavar="TASK[:METRIC]", help="An lm-eval task; repeatable."),
    ] = None,
    include_path: Annotated[
        Path | None,
        typer.Option("--include-path", metavar="FOLDER", help="Where task files of your own lie."),
    ] = None,
    accept_benchmark_tests: Annotated[
        bool,
        typer.Option("--accept-benchmark-tests", help="Search on a benchmark's own test set."),
    ] = False,
    candidates: Annotated[
        int | None, typer.Option("--candidates", min=1, help="Budget, instead of a chosen one.")
    ] = None,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, metavar="N", help="Inspect so many layers.")
    ] = None,
    engine: Annotated[Engine, typer.Option("--engine", help="What answers.")] = Engine.VLLM,
    force: Annotated[bool, typer.Option("--force", help="Overwrite a file that exists.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Write without asking.")] = False,
) -> None:
    """Ask three questions, inspect the models, and write a commented search file that runs."""
    from evomerge.drafting import Answers, task_of

    file = _file(target, force)
    asked = _missing(base, model, task)
    if asked and not sys.stdin.isatty():
        raise UsageError(
            "there is no terminal to ask at",
            where=" ".join(asked),
            remedy="give --base MODEL --model MODEL … --task TASK …",
        )
    answers = Answers(
        base=base or _ask("Which model were the others fine-tuned from (folder or hub id)?"),
        models=tuple(model or _list("Which fine-tunes of it?")),
        tasks=tuple(map(task_of, task or _list("Which tasks (TASK or TASK:METRIC of lm-eval)?"))),
        include_path=include_path or _tasks_beside(file),
        engine=engine.value,
        accept_benchmark_tests=accept_benchmark_tests,
        candidates=candidates,
    )
    found, text = _drafted(answers, file, sample)
    _say(found)
    if sys.stdin.isatty() and not yes and not typer.confirm(f"Write {file}?", True, err=True):
        raise typer.Exit(1)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    note(f"wrote {file}")
    _check(file)


def _file(target: Path, force: bool) -> Path:
    file = target / DEFAULT if target.is_dir() or not target.suffix else target
    if file.exists() and not force:
        raise UsageError(
            "exists already", where=str(file), remedy="name another file, or add --force"
        )
    return file


def _missing(
    base: str | None, models: Sequence[str] | None, tasks: Sequence[str] | None
) -> list[str]:
    given = {"--base": base, "--model": models, "--task": tasks}
    return [flag for flag, value in given.items() if not value]


def _ask(question: str) -> str:
    return str(typer.prompt(question, err=True)).strip()


def _list(question: str) -> list[str]:
    """Several answers, on one line or on several, until one is empty; at least one."""
    found = _several(_ask(question))
    while more := str(typer.prompt("another (Enter: no more)", "", err=True, show_default=False)):
        found += _several(more.strip())
    return found


def _several(line: str) -> list[str]:
    """The names on a line, blanks or commas between them; a folder with blanks has a line of its own."""
    if Path(line).expanduser().is_dir():
        return [line]
    return [name for name in re.split(r"[\s,]+", line) if name]


def _tasks_beside(file: Path) -> Path | None:
    """The folder `tasks` beside the search file, where it holds task files."""
    folder = file.parent / "tasks"
    if not any(folder.glob("*.yaml")):
        return None
    note(f"task files are looked for in {folder}, too; --include-path names another folder")
    return folder


def _drafted(answers: Answers, file: Path, sample: int | None) -> tuple[Inspection, str]:
    """What was found, and the file's text. Raises UsageError for models that do not fit."""
    from evomerge.cli.progress import counted
    from evomerge.drafting import choose_search, draft
    from evomerge.inspection import inspect_models
    from evomerge.preflight.models import read_models

    with counted("inspecting the models") as count:
        found = inspect_models(answers.models, answers.base, sample=sample, progress=count)
    problems = [
        UsageError(misfit, where=one.name, remedy="name fine-tunes of one base model")
        for one in found.models
        for misfit in one.misfits
    ]
    if problems:
        raise problems[0] if len(problems) == 1 else Problems(problems)
    if found.geometry is None:
        raise UsageError(
            "no fine-tune besides the base", where="--model", remedy="name at least one other model"
        )
    (index,), _ = read_models([answers.base])
    chosen = choose_search(found, index, answers.models, answers.candidates)
    return found, draft(answers, found, chosen, file.resolve().parent.name or "search", file.parent)


def _say(found: Inspection) -> None:
    for text, source in found.reading:
        note(f"- {text} [{source}]")


def _check(file: Path) -> None:
    """What `validate` would say: the file stands, so that it can be mended."""
    from evomerge.cli.run import checking
    from evomerge.service import check_search
    from evomerge.spec import load_spec

    try:
        with checking():
            check_search(load_spec(file))
    except UsageError:
        note("it is written, but cannot run yet; mend it, then: evomerge validate " + str(file))
        raise
    note(f"it is fine; next: evomerge plan {file}, evomerge run {file}")
