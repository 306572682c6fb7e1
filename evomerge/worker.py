"""One candidate: set the weights, score it, write the result under the attempt's number.

A worker owns one evaluator for its life and makes it again only when the engine was thrown away.
It writes results itself: what the store acknowledged is safe even if everything else dies.
"""

from collections.abc import Callable
from dataclasses import dataclass

from evomerge.errors import CandidateError, EngineError, EvaluationError, EvomergeError
from evomerge.evaluation.base import Evaluator
from evomerge.fitness import EvaluationResult, Split
from evomerge.racing import RacePlan
from evomerge.recipe import Recipe
from evomerge.store.api import Store


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
        try:
            result = self._evaluate(task)
        except CandidateError as error:
            self._fail(task, error)
        else:
            self._store.finish_attempt(task.evaluation_id, task.attempt, result)

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
