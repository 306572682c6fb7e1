"""Weights & Biases: one run a search, under the search's id."""

from collections.abc import Mapping
from typing import Any

from evomerge.observe.sinks.base import Known, Run


class WandbSink:
    """Logs to a project. WANDB_MODE=offline keeps it on this machine, as W&B has it."""

    def __init__(self, project: str) -> None:
        self._project = project
        self._run: Any = None

    def open(self, run: Run) -> Known | None:
        import wandb

        self._run = wandb.init(
            project=self._project,
            id=run.id,
            name=run.name,
            config=dict(run.settings),
            resume="allow",
            settings=wandb.Settings(silent=True, disable_git=True, disable_code=True),
        )
        return None if self._run.resumed else frozenset()

    def log(self, step: int, values: Mapping[str, float]) -> None:
        # W&B's own step only grows, and finals come back to earlier candidates.
        self._run.log({"candidate": step, **values})

    def close(self, *, finished: bool) -> None:
        self._run.finish(exit_code=0 if finished else 1)
