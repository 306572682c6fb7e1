"""The contract of the store, which SQLite and PostgreSQL both keep.

Every method is one transaction: it happens wholly or not at all. The store is the only truth;
controllers, workers, engines and Ray may vanish at any moment and lose nothing that a method
returned from. Methods that read see one moment. Contention is waited for inside; StoreError means
that it lasted too long, or that the database cannot be used. A server that went away while it
committed gives StoreError too: whether that write happened is then for the next read to say.

Who may write what: users create searches and set their status; the holder of the lease adds
candidates, tells and requests; workers write attempts, under the attempt's number.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from evomerge.errors import CandidateError
from evomerge.fitness import EvaluationResult, Fitness, Split, TaskOutcomes
from evomerge.limits import Limits
from evomerge.spec import SearchSpec
from evomerge.store.types import (
    AttemptRecord,
    BestRow,
    CandidateRecord,
    Entrant,
    EvaluationRecord,
    NewCandidate,
    Progress,
    QueryInfo,
    SearchRecord,
    SearchStatus,
    Standing,
    Wanted,
)


class Store(Protocol):
    @property
    def url(self) -> str:
        """Opens the same store in another process (`open_store`). May contain a password."""
        ...

    # --- searches ---
    def create_search(
        self,
        spec: SearchSpec,
        *,
        scope: str,
        versions: Mapping[str, str],
        search_id: str | None = None,
    ) -> SearchRecord:
        """A new pending search; its id is a short random name unless given (StoreError if taken)."""
        ...

    def search(self, search_id: str) -> SearchRecord:
        """By id, or by unique prefix of an id, or by name where only one has it; else NotFoundError
        that lists the nearest. All other methods take the id itself."""
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
        """Change status and message; with `only_from`, only where it is one of these (compare and
        set). Returns whether it changed. NotFoundError where there is no such search."""
        ...

    def limits(self, search_id: str) -> Limits:
        """What its user changed since it was submitted; it overrules the search's file."""
        ...

    def set_limits(self, search_id: str, limits: Limits) -> None:
        """Replace the limits. NotFoundError where there is no such search."""
        ...

    def wanted(self, search_id: str) -> Wanted:
        """Status, limits and share of workers, by the search's id, at one moment and for little: every
        controller asks once a second. NotFoundError where there is no such search."""
        ...

    # --- leases: one controller a search ---
    def acquire_lease(self, search_id: str, owner: str, seconds: float) -> None:
        """Take the lease. `owner` comes from `make_owner()`. Free where nobody holds it,
        where it ran out, or where the holder was a process of this host that is gone. Otherwise
        LeaseLostError saying who holds it and for how long. Times are the database's."""
        ...

    def renew_lease(self, search_id: str, owner: str, seconds: float) -> None:
        """Keep the lease, also one that ran out meanwhile if nobody took it. LeaseLostError where
        another had it in between: what `owner` remembers of the search may be out of date."""
        ...

    def release_lease(self, search_id: str, owner: str) -> None:
        """Nothing happens where another holds it by now."""
        ...

    # --- candidates ---
    def add_candidates(
        self, search_id: str, owner: str, candidates: Sequence[NewCandidate]
    ) -> list[CandidateRecord]:
        """Insert candidates, each with an evaluation on the search split, in one transaction that
        also checks the lease (LeaseLostError). One with a `rival` races against that evaluation.

        A recipe is scored once. Asked for again in the same search, also in the same call, its
        evaluation follows the first one (`copied_from`), whatever becomes of it. Where another
        search of the same scope has scored it, it follows that one and is scored at once. An
        evaluation that follows is never dispatched: it becomes scored or failed with the other.
        """
        ...

    def candidates(self, search_id: str, numbers: range | None = None) -> list[CandidateRecord]:
        """By number, from 0 without gaps; those with the given numbers, which have no step."""
        ...

    def entrants(self, search_id: str) -> list[Entrant]:
        """All candidates by number, without what makes them large."""
        ...

    def candidate(self, candidate_id: int) -> CandidateRecord: ...

    def mark_told(self, search_id: str, owner: str, losses: Mapping[int, float]) -> None:
        """Record, for candidate ids in this order, that the strategy was told these losses.
        Infinity is a loss, NaN is none (ValueError); -0.0 may come back as 0.0, all other values
        exactly. StoreError where one was told already."""
        ...

    # --- evaluations ---
    def request_evaluations(
        self,
        search_id: str,
        owner: str,
        candidate_ids: Sequence[int],
        split: Split,
        rival: int | None = None,
    ) -> list[EvaluationRecord]:
        """Evaluations on another split, in the order of the ids; existing ones as they are; new
        ones pending or following, and racing against `rival`, as in `add_candidates`."""
        ...

    def evaluations(
        self, search_id: str, split: Split | None = None, numbers: range | None = None
    ) -> list[EvaluationRecord]:
        """With their scores; by candidate number, those of the candidates with the given numbers.
        Status, scores, costs, attempts and errors of an evaluation that follows are those of the one
        it follows; its fitness is its own."""
        ...

    def told(self, search_id: str, places: range) -> list[EvaluationRecord]:
        """The evaluations that the strategy was told at these places, from 0 and without a step, in
        told order."""
        ...

    def standings(self, search_id: str, split: Split) -> list[Standing]:
        """What ranking needs to know of every candidate on a split that is no baseline; by number."""
        ...

    def evaluation(self, evaluation_id: int) -> EvaluationRecord: ...

    def begin_attempt(self, evaluation_id: int, worker: str) -> int:
        """Start a new attempt and return its number from 1; a running one is marked lost.
        StoreError where the evaluation is scored or failed already, or follows another."""
        ...

    def finish_attempt(self, evaluation_id: int, attempt: int, result: EvaluationResult) -> bool:
        """Store scores, outcomes and costs. True where this attempt decides; a late one is kept for
        the record (`late`), a doubled one changes nothing, and False is returned. A result that was
        dropped makes the evaluation `dropped`; no other search takes such a one over."""
        ...

    def fail_attempt(
        self, evaluation_id: int, attempt: int, error: CandidateError, *, final: bool
    ) -> bool:
        """Record a failure; `final` makes the evaluation failed, else it is pending again. With
        WorkerLostError the attempt is `lost`, so that its result may still arrive, late; with
        NodeLostError it does not count as a failure either. True where this attempt decided."""
        ...

    def set_fitness(self, fitness: Mapping[int, Fitness]) -> None:
        """Fitness of scored evaluations by evaluation id (the controller knows the references). That
        of a dropped one is an estimate, which no question for the best sees."""
        ...

    def attempts(self, evaluation_id: int) -> list[AttemptRecord]:
        """By number; none for an evaluation that follows another."""
        ...

    def outcomes(self, evaluation_id: int) -> tuple[TaskOutcomes, ...]:
        """Per-document outcomes, bit for bit as stored, following `copied_from`."""
        ...

    # --- questions ---
    def progress(self, search_id: str) -> Progress:
        """How far a search is; takes no longer for a long one."""
        ...

    def best(
        self,
        *,
        search_id: str | None = None,
        base_model: str | None = None,
        task: str | None = None,
        split: Split | None = None,
        limit: int = 10,
    ) -> list[BestRow]:
        """Best candidates first: by fitness (feasible before infeasible), or by a task's headline
        score where `task` is given, in the direction that the search gives it. Each recipe of a
        search once. Without `split`, only the search split is compared."""
        ...

    def query(
        self,
        name: str,
        parameters: Mapping[str, Any],
        *,
        seconds: float | None = None,
        most: int | None = None,
    ) -> tuple[list[str], list[tuple[Any, ...]]]:
        """Run `db/queries/NAME.sql`; columns and rows. Parameters not given are NULL; `search` may
        be anything that `search()` accepts. ResourceError where it takes longer than `seconds`; no more
        than `most` rows."""
        ...

    def queries(self) -> list[QueryInfo]:
        """The queries there are, what they answer and what they take."""
        ...

    def close(self) -> None: ...
