"""What a user must say before a search can be drafted: base, experts, tasks."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from evomerge.errors import UsageError


class AskedTask(NamedTuple):
    """A task and the metric that was named for it; None: the task's first."""

    name: str
    metric: str | None = None


@dataclass(frozen=True)
class Answers:
    """tasks: at least one. include_path: the folder of task files of one's own.

    accept_benchmark_tests: lm-eval's own tasks may be searched on. candidates: the budget; None: chosen.
    """

    base: str
    models: tuple[str, ...]
    tasks: tuple[AskedTask, ...]
    include_path: Path | None = None
    engine: str = "vllm"
    accept_benchmark_tests: bool = False
    candidates: int | None = None


def task_of(text: str) -> AskedTask:
    """`TASK` or `TASK:METRIC`. Raises UsageError for an empty half."""
    name, colon, metric = text.strip().partition(":")
    if not name or (colon and not metric):
        raise UsageError(
            f"{text!r} names no task", where="--task", remedy="write TASK, or TASK:METRIC"
        )
    return AskedTask(name, metric or None)
