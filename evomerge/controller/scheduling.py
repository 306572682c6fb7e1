"""Brings evaluations to an end: dispatches, retries, and tells as soon as one is final."""

from collections import defaultdict, deque
from collections.abc import Sequence

from evomerge.controller.wishes import Wishes
from evomerge.dispatch.base import Dispatcher
from evomerge.errors import CandidateError, NodeLostError
from evomerge.racing import RacePlan
from evomerge.store.api import Store
from evomerge.store.types import FINAL, CandidateRecord, EvaluationRecord
from evomerge.telemetry import traces
from evomerge.worker import About, Done, Task

_WAIT_SECONDS = 0.5
_MAX_NODES_LOST = 20
"""A candidate that takes one node after the other down with it has to fail at last."""


class Scheduler:
    """Runs evaluations of one search, at most `dispatcher.slots` at a time, in the order given.

    An evaluation that follows another one is never dispatched: it ends when that one does.
    """

    def __init__(
        self, store: Store, dispatcher: Dispatcher, wishes: Wishes, *, attempts: int
    ) -> None:
        self._store, self._dispatcher, self._wishes = store, dispatcher, wishes
        self._max_attempts = attempts
        self._jobs: dict[int, tuple[CandidateRecord, RacePlan | None]] = {}
        self._queue: deque[EvaluationRecord] = deque()
        self._running: set[int] = set()
        self._ended: list[EvaluationRecord] = []
        self._followers: defaultdict[int, list[int]] = defaultdict(list)

    @property
    def free(self) -> int:
        """How many more evaluations could start at once; negative where some wait already."""
        return self._dispatcher.slots - len(self._queue) - len(self._running)

    @property
    def busy(self) -> bool:
        """Whether anything has still to end."""
        return bool(self._queue or self._running or self._ended or self._followers)

    @property
    def wishes(self) -> Wishes:
        """What the search's user wants."""
        return self._wishes

    def add(
        self,
        evaluation: EvaluationRecord,
        candidate: CandidateRecord,
        race: RacePlan | None = None,
    ) -> None:
        """Have one more evaluation brought to its end; `advance` says when that is."""
        if evaluation.status in FINAL:
            self._ended.append(evaluation)
        elif evaluation.copied_from is not None:
            self._followers[evaluation.copied_from].append(evaluation.id)
        else:
            self._jobs[evaluation.id] = (candidate, race)
            self._queue.append(evaluation)

    def advance(self) -> list[EvaluationRecord]:
        """Start what can start and wait for what ends, a moment at most; returns what is final now.

        Raises StopRequested once nothing is under way any more (pause) or at once (cancel),
        LeaseLostError when another controller took over.
        """
        pausing = self._wishes.pausing(bool(self._running))
        self._dispatcher.resize(self._wishes.workers)
        while self._queue and not pausing and len(self._running) < self._dispatcher.slots:
            self._begin(self._queue.popleft())
        ended, self._ended = self._ended, []
        if not ended:
            for done in self._dispatcher.wait(_WAIT_SECONDS):
                ended += self._settle(done)
        return ended

    def _begin(self, evaluation: EvaluationRecord) -> None:
        attempt = self._store.begin_attempt(evaluation.id, self._dispatcher.next_worker)
        # Attempts that a dead controller left behind say nothing about the candidate.
        allowed = attempt + self._max_attempts - evaluation.failures - 1
        candidate, race = self._jobs[evaluation.id]
        self._running.add(evaluation.id)
        about = About(candidate.search_id, candidate.number)
        with traces.span("dispatch", about.carrier, attempt=attempt):
            self._dispatcher.submit(
                Task(
                    evaluation.id, attempt, allowed, candidate.recipe, evaluation.split, race, about
                )
            )

    def _settle(self, done: Done) -> Sequence[EvaluationRecord]:
        """What became final with a task that ended; writes the error that its worker could not."""
        task, error = done.task, done.error
        self._running.remove(task.evaluation_id)
        if error is not None:
            if not isinstance(error, CandidateError):
                raise error
            lost = isinstance(error, NodeLostError)
            final = task.attempt >= (_MAX_NODES_LOST if lost else task.max_attempts)
            self._store.fail_attempt(task.evaluation_id, task.attempt, error, final=final)
        found = self._store.evaluation(task.evaluation_id)
        if found.status not in FINAL:
            self._queue.appendleft(found)
            return ()
        del self._jobs[found.id]
        followers = self._followers.pop(found.id, ())
        return (found, *map(self._store.evaluation, followers))
