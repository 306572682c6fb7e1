"""How a command ends: exit codes, and the one place where errors become words.

0 done · 1 failed · 2 a mistake of the user's · 70 a fault in evomerge · 130 interrupted
"""

import errno
import os
import sys
import traceback
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from evomerge.errors import EvomergeError, Problems

OK, FAILED, USAGE, FAULT, INTERRUPTED = 0, 1, 2, 70, 130
_SCREEN_LINES = 19
_SHOWN_LETTERS = 600
_USERS_MISTAKES = {
    errno.ENOENT: "check the path",
    errno.EACCES: "check the permissions, or choose another place",
    errno.EPERM: "check the permissions, or choose another place",
    errno.EEXIST: "choose another name",
    errno.ENOTDIR: "a part of this path is a file: check it",
    errno.EISDIR: "name a file, not a folder",
    errno.ENOSPC: "free some space, or choose another disk",
    errno.EROFS: "choose a place that can be written",
    errno.ENAMETOOLONG: "choose a shorter name",
}


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return its exit code; nothing is raised."""
    debug = "--debug" in arguments or bool(os.environ.get("EVOMERGE_DEBUG"))
    try:
        from evomerge.cli.app import app

        app([argument for argument in arguments if argument != "--debug"], prog_name="evomerge")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else OK
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        return _report(error, debug)
    return OK


def _report(error: Exception, debug: bool) -> int:
    if debug:
        traceback.print_exception(error)
    code, lines = explain(error)
    if code == FAULT and not debug:
        lines.append(_keep_traceback(error))
    _print_error(lines)
    return code


def explain(error: Exception) -> tuple[int, list[str]]:
    """Exit code and the lines a person reads: what is wrong and where, then the remedy."""
    if isinstance(error, Problems):
        return error.exit_code, list(_problem_lines(error))
    if isinstance(error, EvomergeError):
        return error.exit_code, _lines(error)
    if isinstance(error, OSError) and error.errno in _USERS_MISTAKES:
        where = f"{error.filename}: " if error.filename else ""
        return USAGE, [f"{where}{error.strerror}", f"  → {_USERS_MISTAKES[error.errno]}"]
    if isinstance(error, OSError):
        return FAILED, [f"{type(error).__name__}: {_cut(str(error))}"]
    return FAULT, [f"a fault in evomerge: {type(error).__name__}: {_cut(str(error))}"]


def _problem_lines(problems: Problems) -> Iterator[str]:
    """As many problems as fit on one screen; always the first."""
    count, used, shown = len(problems.problems), 0, 0
    yield "1 problem:" if count == 1 else f"{count} problems:"
    for problem in problems.problems:
        lines = _lines(problem)
        used += sum(1 + len(line) // 80 for line in lines)
        if shown and used > _SCREEN_LINES:
            break
        shown += 1
        yield from lines
    if shown < count:
        yield f"… and {count - shown} more: mend these first, or see all of them with"
        yield "  evomerge validate FILE --format json"


def _lines(error: EvomergeError) -> list[str]:
    first = f"{error.where}: {error.message}" if error.where else error.message
    return [_cut(first), *([f"  → {_cut(error.remedy)}"] if error.remedy else [])]


def _cut(text: str) -> str:
    text = text.strip()
    return text if len(text) <= _SHOWN_LETTERS else text[: _SHOWN_LETTERS - 1] + "…"


def _keep_traceback(error: Exception) -> str:
    """Write the traceback to a file; the line says where, or how to see it if it cannot be kept."""
    file = crash_folder() / f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{os.getpid()}.txt"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
    except OSError:
        return "  → run it again with --debug to see the traceback"
    return f"  → please report it with the traceback in {file} (--debug prints it)"


def _print_error(lines: Sequence[str]) -> None:
    from evomerge.cli.output import stderr

    console = stderr()
    console.print("[bold red]error:[/] ", end="")
    for line in lines:
        console.print(line, markup=False)
    sys.stderr.flush()


def crash_folder() -> Path:
    """Where tracebacks of faults are kept."""
    from evomerge.resources import cache_folder

    return cache_folder() / "crashes"
