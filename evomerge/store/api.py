"""The contract of the store, which SQLite and PostgreSQL both keep.

Every method is one transaction: it happens wholly or not at all. The store is the only truth;
controllers, workers, engines and Ray may vanish at any moment and lose nothing that a method
returned from.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from evomerge.errors import CandidateError
from evomerge.fitness import EvaluationResult, Fitness, Split, TaskOutcomes
from evomerge.spec import SearchSpec
from evomerge.store.types import (
    AttemptRecord,
    BestRow,
    CandidateRecord,
    EvaluationRecord,
    NewCandidate,
    SearchRecord,
    SearchStatus,
)


class Store(Protocol):
    # --- searches ---
    def create_search(
        self,
        spec: SearchSpec,
        *,
        scope: str,
        versions: Mapping[str, str],
        search_id: str | None = None,
    ) -> SearchRecord:
        """A new pending search; its id is a short random name unless given."""
        ...

    def search(self, search_id: str) -> SearchRecord:
        """By id, or by unique prefix of an id, or by name where only one has it; else NotFoundError
        that lists the nearest."""
        ...

    def searches(self) -> list[SearchRecord]:
        """Newest first."""
        ...

    def set_status(
        self,
        search_id: str,
        status: SearchStatus,
        *,
        message: str | None = None,
        only_from: Sequence[SearchStatus] = (),
    ) -> bool:
        """Change the status; with `only_from`, only where it is one of these (compare and set).
        Returns whether it changed."""
        ...

    # --- leases: one controller a search ---
    def acquire_lease(self, search_id: str, owner: str, seconds: float) -> None:
        """Take or keep the lease. `owner` is `host:pid:nonce`. Free where nobody holds it, where it
        ran out, or where the holder was a process of this host that is gone. Otherwise
        LeaseLostError saying who holds it and for how long. Times are the database's."""
        ...

    def release_lease(self, search_id: str, owner: str) -> None: ...

    # --- candidates ---
    def add_candidates(
        self, search_id: str, owner: str, candidates: Sequence[NewCandidate]
    ) -> list[CandidateRecord]:
        """Insert candidates, each with a pending evaluation on the search split, in one transaction
        that also checks the lease (LeaseLostError). Where the same recipe was scored in the same
        scope (in any search), its result is copied at once (`copied_from`)."""
        ...

    def candidates(self, search_id: str) -> list[CandidateRecord]:
        """By number."""
        ...

    def candidate(self, candidate_id: int) -> CandidateRecord: ...

    def mark_told(self, search_id: str, owner: str, losses: Mapping[int, float]) -> None:
        """Record, for candidate ids in this order, that the strategy was told these losses."""
        ...

    # --- evaluations ---
    def request_evaluations(
        self, search_id: str, owner: str, candidate_ids: Sequence[int], split: Split
    ) -> list[EvaluationRecord]:
        """Pending evaluations on another split, existing ones returned as they are; scored ones of
        the same recipe and scope copied."""
        ...

    def evaluations(self, search_id: str, split: Split | None = None) -> list[EvaluationRecord]:
        """With their scores; by candidate number."""
        ...

    def evaluation(self, evaluation_id: int) -> EvaluationRecord: ...

    def begin_attempt(self, evaluation_id: int, worker: str) -> int:
        """Start a new attempt and return its number from 1; a running one is marked lost."""
        ...

    def finish_attempt(self, evaluation_id: int, attempt: int, result: EvaluationResult) -> bool:
        """Store scores, outcomes and costs. True where this attempt decides; a late or doubled one
        is kept for the record (`late`) and False is returned."""
        ...

    def fail_attempt(
        self, evaluation_id: int, attempt: int, error: CandidateError, *, final: bool
    ) -> bool:
        """Record a failure; `final` makes the evaluation failed, else it is pending again."""
        ...

    def set_fitness(self, fitness: Mapping[int, Fitness]) -> None:
        """Fitness of scored evaluations by evaluation id (the controller knows the references)."""
        ...

    def attempts(self, evaluation_id: int) -> list[AttemptRecord]: ...

    def outcomes(self, evaluation_id: int) -> tuple[TaskOutcomes, ...]:
        """Per-document outcomes, following `copied_from`."""
        ...

    # --- questions ---
    def best(
        self,
        *,
        search_id: str | None = None,
        base_model: str | None = None,
        task: str | None = None,
        split: Split | None = None,
        limit: int = 10,
    ) -> list[BestRow]:
        """Best candidates first: by fitness, or by a task's headline score where `task` is given.
        Without `split`, only the search split is compared."""
        ...

    def query(
        self, name: str, parameters: Mapping[str, Any]
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Run `db/queries/NAME.sql`; columns and rows."""
        ...

    def close(self) -> None: ...
