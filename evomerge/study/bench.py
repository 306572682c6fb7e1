"""A bench: some tasks on some models, where recipes are scored, each once for all time.

It is a search record in the store whose candidates somebody else chooses: so scores, retries, workers,
leases and what a killed process finds again are those of searches. Its id is made of everything that
scores depend on; a bench that is opened again has all its scores.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from evomerge.controller.lease import LeaseKeeper
from evomerge.controller.scheduling import Scheduler
from evomerge.controller.wishes import StopRequested, Wishes
from evomerge.dispatch import Dispatcher
from evomerge.errors import NotFoundError
from evomerge.fitness import Split
from evomerge.preflight import PreflightReport
from evomerge.recipe import Recipe
from evomerge.service import check_search, make_dispatcher, submit_search
from evomerge.spec import SearchSpec
from evomerge.store import SQLStore, make_owner
from evomerge.store.types import (
    CandidateRecord,
    EvaluationRecord,
    EvaluationStatus,
    NewCandidate,
    Origin,
    SearchRecord,
    SearchStatus,
)

_OPEN = (EvaluationStatus.PENDING, EvaluationStatus.RUNNING)


@dataclass(frozen=True)
class Where:
    """Where a study's work is done: the store, and a cluster, a local Ray, or this process.

    room: CPUs that a local Ray has room for. heeding: wraps the workers, so that whoever watches can stop a
    study between two merges. check: raises KeyboardInterrupt where that was asked for.
    """

    store: SQLStore
    address: str | None = None
    inline: bool = True
    room: float | None = None
    heeding: Callable[[Dispatcher], Dispatcher] = lambda dispatcher: dispatcher
    check: Callable[[], None] = lambda: None

    def dispatcher(self, search: SearchRecord) -> Dispatcher:
        """Workers for one search or bench; not started."""
        workers = make_dispatcher(
            search.spec, self.store.url, self.address, inline=self.inline, versions=search.versions
        )
        return self.heeding(workers)


def open_bench(where: Where, spec: SearchSpec) -> "Bench":
    """The bench of these models and tasks, made where it is not there yet; raises as a search does."""
    checked = check_search(spec, where.store.url, here=where.address is None)
    return Bench(where, find_or_submit(where.store, checked, f"bench-{checked.scope}"))


def find_or_submit(store: SQLStore, checked: PreflightReport, search_id: str) -> SearchRecord:
    """The search of that id, written down unless it is there."""
    try:
        return store.search(search_id)
    except NotFoundError:
        return submit_search(store, checked, search_id=search_id)


class Bench:
    """A context. Engines start with the first recipe that has no score yet."""

    def __init__(self, where: Where, search: SearchRecord) -> None:
        self._where, self.search = where, search
        self._owner = make_owner()
        self._stack = ExitStack()
        self._scheduler: Scheduler | None = None
        self._lease: LeaseKeeper | None = None

    @property
    def spec(self) -> SearchSpec:
        """With metrics and directions filled in."""
        return self.search.spec

    def __enter__(self) -> Self:
        store = self._where.store
        self._lease = self._stack.enter_context(LeaseKeeper(store, self.search.id, self._owner))
        store.set_status(self.search.id, SearchStatus.RUNNING)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        status = SearchStatus.FINISHED if kind is None else SearchStatus.PAUSED
        try:
            self._where.store.set_status(self.search.id, status)
        finally:
            self._stack.close()

    def score(self, recipes: Sequence[tuple[str, Recipe]], split: Split) -> list[EvaluationRecord]:
        """What labelled recipes score on a split, in their order; failed ones are among them."""
        candidates = self._candidates(recipes)
        ids = [one.id for one in candidates]
        store = self._where.store
        asked = store.request_evaluations(self.search.id, self._owner, ids, split)
        if any(e.status in _OPEN for e in asked):
            self._bring_to_end(asked, candidates)
        found = {e.candidate_id: e for e in store.evaluations(self.search.id, split)}
        return [found[one] for one in ids]

    def is_scored(self, recipe: Recipe, split: Split) -> bool:
        """Whether a recipe needs no engine any more."""
        known = {c.id for c in self._known() if c.recipe_id == recipe.recipe_id}
        found = self._where.store.evaluations(self.search.id, split)
        return any(e.candidate_id in known and e.status not in _OPEN for e in found)

    def _known(self) -> list[CandidateRecord]:
        return self._where.store.candidates(self.search.id)

    def _candidates(self, recipes: Sequence[tuple[str, Recipe]]) -> list[CandidateRecord]:
        """The recipes' candidates, each recipe once, added where they are new."""
        store = self._where.store
        known = {c.recipe_id: c for c in self._known()}
        new = {r.recipe_id: (label, r) for label, r in recipes if r.recipe_id not in known}
        listed = [
            NewCandidate(number=len(known) + n, origin=Origin.BASELINE, recipe=recipe, label=label)
            for n, (label, recipe) in enumerate(new.values())
        ]
        if listed:
            added = store.add_candidates(self.search.id, self._owner, listed)
            known |= {c.recipe_id: c for c in added}
        return [known[recipe.recipe_id] for _, recipe in recipes]

    def _bring_to_end(
        self, asked: Sequence[EvaluationRecord], candidates: Sequence[CandidateRecord]
    ) -> None:
        scheduler = self._started()
        owners = {candidate.id: candidate for candidate in candidates}
        for evaluation in {e.id: e for e in asked}.values():
            scheduler.add(evaluation, owners[evaluation.candidate_id])
        try:
            while scheduler.busy:
                scheduler.advance()
        except StopRequested as stop:  # somebody paused or cancelled the bench by its id
            raise KeyboardInterrupt from stop

    def _started(self) -> Scheduler:
        if self._scheduler is None:
            assert self._lease is not None, "a bench is entered before it scores"
            dispatcher = self._where.dispatcher(self.search)
            self._stack.callback(dispatcher.close)
            dispatcher.start()
            wishes = Wishes(self._where.store, self.search, self._lease)
            attempts = self.spec.workers.attempts
            self._scheduler = Scheduler(self._where.store, dispatcher, wishes, attempts=attempts)
        return self._scheduler
