"""The text of a drafted search file: YAML with the reasons as comments."""

import json
import re
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path

from evomerge.drafting.answers import Answers, AskedTask
from evomerge.drafting.choice import Choices
from evomerge.hub import parts_of
from evomerge.inspection import Inspection

_PLAIN = re.compile(r"^[A-Za-z_./~][\w./@+~-]*$")
_WORDS = {"null", "true", "false", "yes", "no", "on", "off", "~"}


def draft(answers: Answers, found: Inspection, chosen: Choices, name: str, folder: Path) -> str:
    """The file. Paths below `folder`, where it will lie, are written relative to it."""
    lines = [
        *comment("A first search, drafted by `evomerge init`. Every field: docs/search_file.md"),
        f"name: {scalar(name)}",
        f"base_model: {scalar(placed(answers.base, folder))}",
        "models:",
        *(f"  - {scalar(placed(model, folder))}" for model in answers.models),
        "",
        *_reading(found),
        *comment(f"Chosen because {chosen.why_space}."),
        *comment(f"{chosen.genes} genes. When it has converged, try `{chosen.next_space}`."),
        f"space: {chosen.space}",
        "",
        *_objective(answers, folder),
        "",
        *comment(f"auto takes {chosen.strategy}: {chosen.why_strategy}."),
        "strategy: {name: auto, seed: 0}",
        "",
        *comment(f"Candidates: {chosen.why_candidates}. What it costs: `evomerge plan`."),
        f"budget: {{candidates: {chosen.candidates}}}",
        "",
        *_machinery(answers),
    ]
    return "\n".join(lines) + "\n"


def comment(text: str, indent: str = "") -> list[str]:
    """A sentence as comment lines."""
    return textwrap.wrap(text, 96, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def scalar(text: str) -> str:
    """A string as YAML has it: as it is, or in quotes where it could mean something else."""
    plain = _PLAIN.match(text) and text.lower() not in _WORDS
    return text if plain else json.dumps(text, ensure_ascii=False)


def placed(model: str, folder: Path) -> str:
    """A model as a file in `folder` names it: hub ids as they are, folders by a path."""
    return "+".join(_placed(part, folder) for part in parts_of(model))


def _placed(part: str, folder: Path) -> str:
    path = Path(part).expanduser()
    if not path.is_dir():
        return part
    path, folder = path.resolve(), folder.resolve()
    return (path.relative_to(folder) if path.is_relative_to(folder) else path).as_posix()


def _reading(found: Inspection) -> Iterator[str]:
    for text, source in found.reading:
        yield from comment(f"{text} [{source}]")


def _objective(answers: Answers, folder: Path) -> Iterator[str]:
    yield "objective:"
    if answers.include_path is not None:
        yield f"  include_path: {scalar(_placed(str(answers.include_path), folder))}"
    if answers.accept_benchmark_tests:
        yield from comment(
            "A score reached by searching on a benchmark says nothing about it.", "  "
        )
        yield "  accept_benchmark_tests: true"
    yield from comment(
        "weight: its share in the mean. at_least: base - 0.01 makes a constraint of it.", "  "
    )
    yield "  tasks:"
    yield from _tasks(answers.tasks)
    yield from comment(
        "The search sees `search` alone; `validation` chooses the winner; `test` is scored once.",
        "  ",
    )
    yield "  splits: {search: 0.6, validation: 0.2, test: 0.2}"


def _tasks(tasks: Sequence[AskedTask]) -> Iterator[str]:
    for task in tasks:
        metric = "" if task.metric is None else f", metric: {scalar(task.metric)}"
        yield f"    - {{task: {scalar(task.name)}{metric}, weight: 1.0}}"


def _machinery(answers: Answers) -> Iterator[str]:
    from evomerge.preflight.machine import gpu_count

    gpus = min(gpu_count(), 1)
    seen = (
        "a GPU was found here"
        if gpus
        else "no GPU was found here; `gpus: 1` on a cluster that has some"
    )
    yield from comment(f"One worker: {seen}. More at once: a larger `max`.")
    yield f"workers: {{max: 1, gpus: {gpus}}}"
    yield from comment(
        "max_model_len: the longest prompt and answer together; less takes less memory."
    )
    yield f"engine: {{name: {answers.engine}}}"
