"""From a controller's events to a sink's numbers."""

import logging
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from evomerge.controller.events import Event, Scored
from evomerge.fitness import Split
from evomerge.observe.sinks.base import MARK, Known, Run, Sink
from evomerge.store.types import EvaluationRecord, EvaluationStatus, SearchRecord

_log = logging.getLogger("evomerge.observe")


class SinkListener:
    """Opens a sink at once and tells it every evaluation that it does not have yet.

    Those that were stored before this run are told too, unless the tracker has them: a controller that
    was killed may have had no time to tell. A tracker that cannot say what it has is only told what is
    new. A sink that raises is given up for the rest of this run.
    """

    def __init__(self, sink: Sink, search: SearchRecord) -> None:
        self._sink: Sink | None = sink
        self._best = -math.inf
        self._known: Known | None = None
        settings = dict(flat(search.spec.model_dump(mode="json")))
        self._tell(lambda sink: self._open(sink, Run(search.id, search.name, settings)))

    def __call__(self, event: Event) -> None:
        """The listener."""
        if not isinstance(event, Scored):
            return
        evaluation = event.evaluation
        whole = evaluation.status is EvaluationStatus.SCORED and evaluation.split is Split.SEARCH
        if whole and not evaluation.violation and evaluation.fitness is not None:
            self._best = max(self._best, evaluation.fitness)
        known = self._known
        place = (evaluation.split.value, event.candidate.number)
        if not event.replayed if known is None else place not in known:
            values = dict(numbers(evaluation))
            if math.isfinite(self._best) and evaluation.split is Split.SEARCH:
                values["search/best_fitness"] = self._best
            self._tell(lambda sink: sink.log(event.candidate.number, values))

    def close(self, *, finished: bool) -> None:
        """The search ended, or stopped."""
        self._tell(lambda sink: sink.close(finished=finished))
        self._sink = None

    def _open(self, sink: Sink, run: Run) -> None:
        self._known = sink.open(run)

    def _tell(self, what: Callable[[Sink], None]) -> None:
        if self._sink is None:
            return
        try:
            what(self._sink)
        except Exception as error:  # a tracker's trouble is not the search's
            name = type(self._sink).__name__
            _log.warning("%s is given up for this run: %s: %s", name, type(error).__name__, error)
            self._sink = None


def numbers(evaluation: EvaluationRecord) -> Iterator[tuple[str, float]]:
    """What a tracker is shown of one evaluation, by split: fitness, scores, costs; finite ones alone."""
    split, costs = evaluation.split.value, evaluation.costs
    found: dict[str, float | None] = {
        "fitness": evaluation.fitness,
        "violation": evaluation.violation,
        **{f"score/{task}": score.value for task, score in evaluation.headlines.items()},
        MARK: float(evaluation.status is EvaluationStatus.FAILED),
        "dropped": float(evaluation.status is EvaluationStatus.DROPPED),
    }
    if costs is not None and evaluation.copied_from is None:
        found |= {
            "seconds/merge": costs.merge_seconds,
            "seconds/load": costs.load_seconds,
            "seconds/forward": costs.forward_seconds,
            "seconds/overhead": costs.overhead_seconds,
            "tokens": float(costs.tokens),
        }
    for name, value in found.items():
        if value is not None and math.isfinite(value):
            yield f"{split}/{name}", value


def flat(
    content: Mapping[str, Any], prefix: str = ""
) -> Iterator[tuple[str, str | int | float | bool]]:
    """The leaves of nested settings, named by their path; lists as their text."""
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from flat(value, f"{prefix}{name}.")
        elif value is not None:
            plain = isinstance(value, str | int | float | bool)
            yield f"{prefix}{name}", value if plain else str(value)
