"""One candidate: set the weights, score it, write the result under the attempt's number.

A worker owns one evaluator for its life and makes it again only when the engine was thrown away.
It writes results itself: what the store acknowledged is safe even if everything else dies.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from evomerge.errors import CandidateError, EngineError, EvaluationError, EvomergeError
from evomerge.evaluation.base import Evaluator
from evomerge.fitness import Costs, EvaluationResult, Split
from evomerge.racing import RacePlan
from evomerge.recipe import Recipe
from evomerge.store.api import Store
from evomerge.telemetry import traces, working_on

_log = logging.getLogger("evomerge.worker")


@dataclass(frozen=True)
class About:
    """What a task is about, for logs and traces alone."""

    search: str
    candidate: int

    @property
    def carrier(self) -> traces.Carrier:
        """The trace of the candidate."""
        return traces.candidate_carrier(self.search, self.candidate)


@dataclass(frozen=True)
class Task:
    """What a worker is asked to do."""

    evaluation_id: int
    attempt: int
    max_attempts: int
    recipe: Recipe
    split: Split
    race: RacePlan | None = None
    """Whom it has to beat on the way; without one it answers every document."""
    about: About | None = None


@dataclass(frozen=True)
class Done:
    """A task that needs no more waiting; `error` is set where the result was not written."""

    task: Task
    error: EvomergeError | None = None


class Worker:
    """Scores tasks one at a time.

    Args:
        store: where results go.
        make_evaluator: makes the evaluator; called on the first task and after an engine failure.
    """

    def __init__(self, store: Store, make_evaluator: Callable[[], Evaluator]) -> None:
        self._store = store
        self._make_evaluator = make_evaluator
        self._evaluator: Evaluator | None = None

    def prepare(self) -> dict[str, str]:
        """Start the engine now rather than with the first task; returns its versions.

        Raises EngineError, TaskError, CheckpointError and the like.
        """
        return self._started().versions()

    def run(self, task: Task) -> None:
        """Score a task and write what came out, good or bad.

        Raises EngineError only where no engine can be started.
        """
        about = task.about or About("", 0)
        with (
            working_on(search=about.search, candidate=about.candidate, attempt=task.attempt),
            traces.span("attempt", about.carrier, split=task.split.value),
        ):
            self._run(task)
        traces.flush()

    def _run(self, task: Task) -> None:
        try:
            result = self._evaluate(task)
        except CandidateError as error:
            _log.warning("attempt failed: %s: %s", type(error).__name__, error.message)
            self._fail(task, error)
            return
        _trace_stages(result.costs)
        with traces.span("write"):
            decided = self._store.finish_attempt(task.evaluation_id, task.attempt, result)
        seconds = round(result.costs.total_seconds, 3)
        _log.info(
            "attempt scored" if decided else "attempt scored too late", extra={"seconds": seconds}
        )

    def _evaluate(self, task: Task) -> EvaluationResult:
        """Score on the engine there is; if that one is broken, once more on a new one."""
        evaluator = self._started()
        try:
            return evaluator.evaluate(task.recipe, task.split, task.race)
        except EngineError:
            self.close()
        evaluator = self._started()
        try:
            return evaluator.evaluate(task.recipe, task.split, task.race)
        except EngineError as error:
            self.close()
            raise EvaluationError(f"two engines broke on it: {error.message}") from error

    def _started(self) -> Evaluator:
        if self._evaluator is None:
            self._evaluator = self._make_evaluator()
        return self._evaluator

    def _fail(self, task: Task, error: CandidateError) -> None:
        final = not error.retryable or task.attempt >= task.max_attempts
        self._store.fail_attempt(task.evaluation_id, task.attempt, error, final=final)

    def close(self) -> None:
        """Stop the engine."""
        evaluator, self._evaluator = self._evaluator, None
        if evaluator is not None:
            evaluator.close()


def _trace_stages(costs: Costs) -> None:
    """Spans of the stages that the engine timed itself, one after the other, up to now."""
    end = time.time()
    seconds = {
        "merge": costs.merge_seconds,
        "load": costs.load_seconds,
        "score": costs.forward_seconds + costs.overhead_seconds,
    }
    begin = end - sum(seconds.values())
    for name, took in seconds.items():
        begin += took
        traces.record(name, took, begin)
