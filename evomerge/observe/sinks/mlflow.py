"""MLflow: one run a search in the experiment `evomerge`, found again by a tag."""

from collections.abc import Iterator, Mapping
from typing import Any

from evomerge.fitness import Split
from evomerge.observe.sinks.base import MARK, Known, Run

_EXPERIMENT, _TAG = "evomerge", "evomerge.search"
_LONGEST = 500


class MlflowSink:
    """Logs through MLflow's client to the tracking server at `uri`; None: MLFLOW_TRACKING_URI."""

    def __init__(self, uri: str | None) -> None:
        self._uri = uri
        self._client: Any = None
        self._run_id = ""

    def open(self, run: Run) -> Known:
        from mlflow import MlflowClient

        self._client = MlflowClient(tracking_uri=self._uri)
        experiment = self._client.get_experiment_by_name(_EXPERIMENT)
        experiment_id = (
            experiment.experiment_id if experiment else self._client.create_experiment(_EXPERIMENT)
        )
        found = self._client.search_runs([experiment_id], f"tags.`{_TAG}` = '{run.id}'")
        if found:
            self._run_id = found[0].info.run_id
            self._client.set_terminated(self._run_id, status="RUNNING")
            return frozenset(self._known())
        made = self._client.create_run(experiment_id, tags={_TAG: run.id}, run_name=run.name)
        self._run_id = made.info.run_id
        for name, value in run.settings.items():
            self._client.log_param(self._run_id, name, str(value)[:_LONGEST])
        return frozenset()

    def _known(self) -> Iterator[tuple[str, int]]:
        for split in Split:
            for one in self._client.get_metric_history(self._run_id, f"{split.value}/{MARK}"):
                yield split.value, one.step

    def log(self, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run_id, name, value, step=step)

    def close(self, *, finished: bool) -> None:
        self._client.set_terminated(self._run_id, status="FINISHED" if finished else "KILLED")
