"""Brings evaluations to an end: dispatches, retries, and listens to the user's wishes."""

from collections.abc import Callable, Iterable
from time import monotonic

from evomerge.controller.events import Listener, Scored
from evomerge.controller.lease import LeaseKeeper
from evomerge.dispatch.base import Dispatcher
from evomerge.errors import CandidateError, WorkerLostError
from evomerge.store.api import Store
from evomerge.store.types import (
    CandidateRecord,
    EvaluationRecord,
    EvaluationStatus,
    SearchRecord,
    SearchStatus,
)
from evomerge.worker import Done, Task

FINAL = (EvaluationStatus.SCORED, EvaluationStatus.FAILED)
_WAIT_SECONDS = 0.5
_STATUS_SECONDS = 1.0


class StopRequested(Exception):
    """The user paused or cancelled; carries the status that the search now takes."""

    def __init__(self, status: SearchStatus) -> None:
        super().__init__(status)
        self.status = status


class Scheduler:
    """Runs evaluations of one search to their end, at most `dispatcher.slots` at a time."""

    def __init__(
        self,
        store: Store,
        search: SearchRecord,
        dispatcher: Dispatcher,
        lease: LeaseKeeper,
        listener: Listener,
    ) -> None:
        self._store, self._search, self._lease = store, search, lease
        self._dispatcher, self._listener = dispatcher, listener
        self._max_attempts = search.spec.workers.attempts
        self._status_due = 0.0

    def finish(
        self,
        evaluations: Iterable[EvaluationRecord],
        candidates: dict[int, CandidateRecord],
        grade: Callable[[list[EvaluationRecord]], None],
    ) -> list[EvaluationRecord]:
        """Run all `evaluations` that are not final; returns all of them, final, in their order.

        `grade` is called with evaluations as soon as their scores are in the store, before they are
        announced. Raises StopRequested once nothing is under way any more (pause) or at once
        (cancel), LeaseLostError when another controller took over.
        """
        wanted = list(evaluations)
        queue = [e for e in wanted if e.status not in FINAL and e.copied_from is None]
        replayed = {e.id for e in wanted if e.status in FINAL}
        self._announce([e for e in wanted if e.id in replayed], candidates, grade, replayed=True)
        running: dict[int, Task] = {}
        while queue or running:
            stopping = self._wished_stop(bool(running))
            while queue and not stopping and len(running) < self._dispatcher.slots:
                task = self._begin(queue.pop(0), candidates)
                running[task.evaluation_id] = task
                self._dispatcher.submit(task)
            for done in self._dispatcher.wait(_WAIT_SECONDS):
                del running[done.task.evaluation_id]
                self._settle(done)
                ended = self._store.evaluation(done.task.evaluation_id)
                if ended.status in FINAL:
                    self._announce([ended], candidates, grade, replayed=False)
                else:
                    queue.insert(0, ended)
        final = [self._store.evaluation(e.id) for e in wanted]
        followers = [e for e in final if e.copied_from is not None and e.id not in replayed]
        self._announce(followers, candidates, grade, replayed=False)
        return [self._store.evaluation(e.id) for e in final]

    def check(self) -> None:
        """Raise StopRequested or LeaseLostError if it is time to."""
        self._status_due = 0.0
        self._wished_stop(False)

    def _begin(self, evaluation: EvaluationRecord, candidates: dict[int, CandidateRecord]) -> Task:
        attempt = self._store.begin_attempt(evaluation.id, self._search.id)
        recipe = candidates[evaluation.candidate_id].recipe
        failures = sum(a.status == "failed" for a in self._store.attempts(evaluation.id))
        # Attempts that a dead controller left behind say nothing about the candidate.
        allowed = attempt + self._max_attempts - failures - 1
        return Task(evaluation.id, attempt, allowed, recipe, evaluation.split)

    def _settle(self, done: Done) -> None:
        if done.error is None:
            return
        if not isinstance(done.error, CandidateError):
            raise done.error
        final = done.task.attempt >= done.task.max_attempts
        if isinstance(done.error, WorkerLostError) and final:
            message = f"{done.error.message}; given up after {self._max_attempts} lost workers"
            done = Done(done.task, WorkerLostError(message))
        assert isinstance(done.error, CandidateError)
        self._store.fail_attempt(
            done.task.evaluation_id, done.task.attempt, done.error, final=final
        )

    def _announce(
        self,
        evaluations: list[EvaluationRecord],
        candidates: dict[int, CandidateRecord],
        grade: Callable[[list[EvaluationRecord]], None],
        *,
        replayed: bool,
    ) -> None:
        grade(evaluations)
        for evaluation in evaluations:
            graded = evaluation if replayed else self._store.evaluation(evaluation.id)
            self._listener(Scored(candidates[evaluation.candidate_id], graded, replayed))

    def _wished_stop(self, running: bool) -> bool:
        """Whether to submit nothing more; raises StopRequested when it is time to leave."""
        self._lease.check()
        if monotonic() < self._status_due:
            return False
        status = self._store.search(self._search.id).status
        if status in {SearchStatus.CANCELLING, SearchStatus.CANCELLED}:
            raise StopRequested(SearchStatus.CANCELLED)
        if status in {SearchStatus.PAUSING, SearchStatus.PAUSED}:
            if not running:
                raise StopRequested(SearchStatus.PAUSED)
            return True
        self._status_due = monotonic() + _STATUS_SECONDS
        return False


__all__ = ["FINAL", "Scheduler", "StopRequested"]
