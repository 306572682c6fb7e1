"""Brings evaluations to an end: dispatches, retries, and listens to the user's wishes."""

import os
from collections.abc import Callable, Mapping, Sequence
from time import monotonic

from evomerge.controller.events import Listener, Scored
from evomerge.controller.lease import LeaseKeeper
from evomerge.dispatch.base import Dispatcher
from evomerge.errors import CandidateError
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
Grade = Callable[[Sequence[EvaluationRecord]], list[EvaluationRecord]]
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
        self._worker = (
            f"controller {os.getpid()}"  # which worker took it, only the dispatcher knows
        )
        self._max_attempts = search.spec.workers.attempts
        self._status_due = 0.0

    def finish(
        self,
        evaluations: Sequence[EvaluationRecord],
        candidates: Mapping[int, CandidateRecord],
        grade: Grade,
    ) -> list[EvaluationRecord]:
        """Run all `evaluations` that are not final; returns all of them, final, in their order.

        `grade` puts fitness to evaluations as soon as their scores are in the store; only then are
        they announced. Raises StopRequested once nothing is under way any more (pause) or at once
        (cancel), LeaseLostError when another controller took over.
        """
        final = {e.id: e for e in grade([e for e in evaluations if e.status in FINAL])}
        for evaluation in final.values():
            self._announce(evaluation, candidates, replayed=True)
        queue = [e for e in evaluations if e.id not in final and e.copied_from is None]
        running: set[int] = set()
        while queue or running:
            stopping = self._wished_stop(bool(running))
            while queue and not stopping and len(running) < self._dispatcher.slots:
                task = self._begin(queue.pop(0), candidates)
                running.add(task.evaluation_id)
                self._dispatcher.submit(task)
            for done in self._dispatcher.wait(_WAIT_SECONDS):
                running.remove(done.task.evaluation_id)
                ended = self._settle(done)
                if ended.status in FINAL:
                    (final[ended.id],) = grade([ended])
                    self._announce(final[ended.id], candidates, replayed=False)
                else:
                    queue.insert(0, ended)
        followers = [self._store.evaluation(e.id) for e in evaluations if e.id not in final]
        for evaluation in grade(followers):
            final[evaluation.id] = evaluation
            self._announce(evaluation, candidates, replayed=False)
        return [final[evaluation.id] for evaluation in evaluations]

    def _begin(
        self, evaluation: EvaluationRecord, candidates: Mapping[int, CandidateRecord]
    ) -> Task:
        attempt = self._store.begin_attempt(evaluation.id, self._worker)
        recipe = candidates[evaluation.candidate_id].recipe
        # Attempts that a dead controller left behind say nothing about the candidate.
        allowed = attempt + self._max_attempts - evaluation.failures - 1
        return Task(evaluation.id, attempt, allowed, recipe, evaluation.split)

    def _settle(self, done: Done) -> EvaluationRecord:
        """What the store has of a task that ended; writes the error that its worker could not."""
        task, error = done.task, done.error
        if error is not None:
            if not isinstance(error, CandidateError):
                raise error
            final = task.attempt >= task.max_attempts
            self._store.fail_attempt(task.evaluation_id, task.attempt, error, final=final)
        return self._store.evaluation(task.evaluation_id)

    def _announce(
        self,
        evaluation: EvaluationRecord,
        candidates: Mapping[int, CandidateRecord],
        *,
        replayed: bool,
    ) -> None:
        self._listener(Scored(candidates[evaluation.candidate_id], evaluation, replayed))

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
