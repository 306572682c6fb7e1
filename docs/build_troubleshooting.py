"""Writes docs/troubleshooting.md: every error that is raised with a remedy, by its message.

`python docs/build_troubleshooting.py` reads the code, not a list: each place in evomerge/ that makes one of
evomerge's exceptions with a message and a remedy written there. What is filled in when it is raised stands
as `…`. A test looks up every message of the page in the code.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from evomerge import errors
from evomerge.errors import EvomergeError

PAGE = Path(__file__).parent / "troubleshooting.md"
PACKAGE = Path(errors.__file__).parent
HOLE = "…"
KINDS = {
    name: kind
    for name, kind in vars(errors).items()
    if inspect.isclass(kind) and issubclass(kind, EvomergeError)
}
SHELVES = {
    "Search files": ("SpecError",),
    "Merge configurations": ("RecipeError",),
    "Models": ("CheckpointError",),
    "Tasks": ("TaskError",),
    "Stores": ("StoreError", "LeaseLostError"),
    "The machine": ("ResourceError",),
    "Names": ("NotFoundError",),
    "Servers and limits": ("LimitError",),
    "Candidates, workers and engines": (
        "CandidateError",
        "MergeError",
        "EvaluationError",
        "OutOfMemoryError",
        "WorkerLostError",
        "NodeLostError",
        "EngineError",
    ),
    "Everything else": ("UsageError", "EvomergeError"),
}
HEAD = """\
# Troubleshooting

What evomerge says when something is wrong, and what to do about it. Written by
`python docs/build_troubleshooting.py` from the places in the code that say it; `…` is filled in when it is
said. Look for the words between the names of your own files.

How to read an error: first what is wrong and where, then, after `→`, what to do. Exit code 2 is a mistake
that you can mend, 1 something that failed, 70 a fault in evomerge: then the message says where the traceback
was kept, and `--debug` prints it. `evomerge validate FILE` finds all mistakes of a search at once, and
`evomerge doctor` those of the machine. Errors of single candidates do not end a search: `evomerge status`
counts them, and `evomerge query failures` lists them.
"""


class Message(NamedTuple):
    """One error: its class, message and remedy, with `…` for what is filled in."""

    kind: str
    text: str
    remedy: str


def messages() -> list[Message]:
    """All errors of the package that carry a message and a remedy of their own."""
    found = {
        message
        for file in PACKAGE.rglob("*.py")
        for message in _in_tree(ast.parse(file.read_text(encoding="utf-8")))
    }
    return sorted(found)


def _in_tree(tree: ast.Module) -> Iterator[Message]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in KINDS:
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            text = template(node.args[0]) if node.args else None
            remedy = template(given["remedy"]) if "remedy" in given else None
            if text and remedy and all(map(_telling, (text, remedy))):
                yield Message(node.func.id, text, remedy)


def _telling(text: str) -> bool:
    """Whether enough of it is written in the code to recognise it by, and a page can hold it."""
    return len(text.replace(HOLE, "").split()) >= 2 and text.isprintable()


def template(node: ast.expr) -> str | None:
    """A string as it is written in the code, `…` for its holes; None for what is no string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return " ".join(node.value.split())
    if isinstance(node, ast.JoinedStr):
        parts = [str(p.value) if isinstance(p, ast.Constant) else HOLE for p in node.values]
        return " ".join("".join(parts).split())
    return None


def page() -> str:
    """The whole page."""
    found = messages()
    lines = [HEAD]
    for shelf, kinds in SHELVES.items():
        rows = [message for message in found if message.kind in kinds]
        if rows:
            lines += [f"## {shelf}", "", "| It says | Do |", "|---|---|", *map(row, rows), ""]
    return "\n".join(lines)


def row(message: Message) -> str:
    """One line of a table."""
    return f"| {shown(message.text)} | {shown(message.remedy)} |"


def shown(text: str) -> str:
    """Text of the code as Markdown shows it: only code between pairs of backticks is markup."""
    pieces = text.replace("|", "\\|").split("`")
    for place in range(0, len(pieces), 2):
        pieces[place] = re.sub(r"([*_\[\]#])", r"\\\1", pieces[place]).replace("<", "&lt;")
    return "`".join(pieces)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
