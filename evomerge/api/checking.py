"""Preflight of submitted searches, away from the server's own process.

Preflight reads models and lets lm-eval load task files, which are Python where they want to be: minutes of
work and gigabytes that no server should hold, and code that should not run inside it. So it happens in a
child process. The fake engine has neither and is checked here.
"""

import json
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import Any

from evomerge import errors
from evomerge.api.context import Context
from evomerge.errors import EvomergeError, Problems, ResourceError, UsageError
from evomerge.service import check_search
from evomerge.spec import SearchSpec

SECONDS = 1800.0
_AT_ONCE = threading.BoundedSemaphore(2)


@dataclass(frozen=True)
class Checked:
    """A search that can start."""

    spec: SearchSpec
    scope: str
    versions: dict[str, str]


def check(spec: SearchSpec, here: Context) -> Checked:
    """Everything that is wrong with a search, raised; else what `enqueue` needs."""
    near = here.settings.queue.address is None
    with _AT_ONCE:
        if spec.engine.name == "fake":
            report = check_search(spec, here.store.url, here=near)
            return Checked(report.spec, report.scope, report.versions)
        return _in_child(spec, here.store.url, near)


def _in_child(spec: SearchSpec, store: str, near: bool) -> Checked:
    request = json.dumps({"spec": spec.model_dump(mode="json"), "store": store, "here": near})
    try:
        done = subprocess.run(
            [sys.executable, "-m", "evomerge.api.checking"],
            input=request.encode(),
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ResourceError(
            f"the check took longer than {SECONDS / 60:.0f} minutes",
            remedy="check it where the models lie: `evomerge validate FILE`",
        ) from error
    lines = done.stdout.decode("utf-8", "replace").strip().splitlines()
    if done.returncode != 0 or not lines:
        words = done.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise ResourceError(f"the check died (exit code {done.returncode}): {' '.join(words)}")
    return _read(json.loads(lines[-1]))


def _read(content: dict[str, Any]) -> Checked:
    if "problems" in content:
        problems = [_error(problem) for problem in content["problems"]]
        raise problems[0] if len(problems) == 1 else Problems(problems)
    spec = SearchSpec.model_validate(content["spec"])
    return Checked(spec, content["scope"], content["versions"])


def _error(content: dict[str, Any]) -> UsageError:
    kind = getattr(errors, content["type"], UsageError)
    usual = isinstance(kind, type) and issubclass(kind, UsageError) and kind is not Problems
    chosen: type[UsageError] = kind if usual else UsageError
    return chosen(content["message"], where=content["where"], remedy=content["remedy"])


def main() -> None:
    """The child: a request on stdin, one line of JSON as the last of stdout."""
    request = json.load(sys.stdin)
    spec = SearchSpec.model_validate(request["spec"])
    try:
        report = check_search(spec, request["store"], here=request["here"])
    except EvomergeError as error:
        print(json.dumps({"problems": _problems(error)}))
        return
    content = {"spec": report.spec.model_dump(mode="json"), "scope": report.scope}
    print(json.dumps({**content, "versions": report.versions}))


def _problems(error: EvomergeError) -> list[dict[str, Any]]:
    several = error.problems if isinstance(error, Problems) else (error,)
    return [
        {"type": type(e).__name__, "message": e.message, "where": e.where, "remedy": e.remedy}
        for e in several
    ]


if __name__ == "__main__":
    main()
