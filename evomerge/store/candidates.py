"""Candidates, and which evaluations they bring: a recipe is scored once, all others follow it."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, exists, func, insert, select, update
from sqlalchemy.orm import aliased

from evomerge.errors import NotFoundError, StoreError
from evomerge.fitness import Split
from evomerge.recipe import Recipe
from evomerge.store.columns import now
from evomerge.store.schema import Archive, Ask, Candidate, Evaluation, Race, Search
from evomerge.store.searches import check_lease
from evomerge.store.transactions import Transactions, reads, writes
from evomerge.store.types import (
    CandidateRecord,
    Entrant,
    EvaluationStatus,
    NewCandidate,
    Origin,
)

CANDIDATE_COLUMNS = (
    Candidate.id,
    Candidate.search_id,
    Candidate.number,
    Candidate.origin,
    Candidate.recipe,
    Candidate.recipe_id,
    Candidate.generation,
    Candidate.label,
    Candidate.genome,
    Candidate.told,
    Candidate.loss,
    Ask.tells.label("asked_after"),
)


class Candidates(Transactions):
    """The candidates of a search, in asked order and in told order."""

    @writes
    def add_candidates(
        self, db: Connection, search_id: str, owner: str, candidates: Sequence[NewCandidate]
    ) -> list[CandidateRecord]:
        """Insert candidates, each with its evaluation on the search split, under the lease."""
        check_lease(db, search_id, owner)
        for candidate in candidates:
            _insert(db, search_id, candidate)
        numbers = [candidate.number for candidate in candidates]
        rows = _select(db, Candidate.search_id == search_id, Candidate.number.in_(numbers))
        by_number = {row.number: candidate_record(row) for row in rows}
        for candidate in candidates:
            record = by_number[candidate.number]
            add_evaluation(db, record, Split.SEARCH, rival=candidate.rival)
        return [by_number[number] for number in numbers]

    @reads
    def candidates(
        self, db: Connection, search_id: str, numbers: range | None = None
    ) -> list[CandidateRecord]:
        """By number."""
        conditions = [Candidate.search_id == search_id, *between(Candidate.number, numbers)]
        return [candidate_record(row) for row in _select(db, *conditions)]

    @reads
    def entrants(self, db: Connection, search_id: str) -> list[Entrant]:
        """By number."""
        wanted = (Candidate.id, Candidate.number, Candidate.origin)
        query = select(*wanted, Candidate.label, Candidate.recipe_id)
        mine = query.where(Candidate.search_id == search_id).order_by(Candidate.number)
        return [
            Entrant(row.id, row.number, Origin(row.origin), row.label, row.recipe_id)
            for row in db.execute(mine)
        ]

    @reads
    def candidate(self, db: Connection, candidate_id: int) -> CandidateRecord:
        """By id, else NotFoundError."""
        return find_candidate(db, candidate_id)

    @writes
    def mark_told(
        self, db: Connection, search_id: str, owner: str, losses: Mapping[int, float]
    ) -> None:
        """Record that the strategy was told these losses, after all earlier ones, in this order."""
        check_lease(db, search_id, owner)
        last = select(func.max(Candidate.told)).where(Candidate.search_id == search_id)
        told = db.scalar(last)
        following = 0 if told is None else told + 1
        for place, (candidate_id, loss) in enumerate(losses.items(), start=following):
            _tell(db, search_id, candidate_id, place, loss)


def between(column: Any, numbers: range | None) -> list[Any]:
    """The conditions under which a column has one of these values."""
    return [] if numbers is None else [column >= numbers.start, column < numbers.stop]


def find_candidate(db: Connection, candidate_id: int) -> CandidateRecord:
    """By id, else NotFoundError."""
    for row in _select(db, Candidate.id == candidate_id):
        return candidate_record(row)
    raise NotFoundError(f"no candidate {candidate_id}", remedy="see `evomerge best`")


def add_evaluation(
    db: Connection, candidate: CandidateRecord, split: Split, *, rival: int | None = None
) -> int:
    """A new evaluation: pending, or following one of the same recipe. The search must be locked.

    rival: the evaluation that it has to beat, unless it follows another.
    """
    followed = _same_search(db, candidate, split) or _same_scope(db, candidate, split)
    values = {
        "candidate_id": candidate.id,
        "search_id": candidate.search_id,
        "recipe_id": candidate.recipe_id,
        "split": Split(split).value,
        "status": None if followed else EvaluationStatus.PENDING.value,
        "copied_from": followed,
        "attempts": 0,
        "failures": 0,
        "retryable": True,
        "created_at": now(),
    }
    added = db.execute(insert(Evaluation).values(**values).returning(Evaluation.id)).scalar_one()
    if rival is not None and not followed:
        race = {"evaluation_id": added, "search_id": candidate.search_id, "rival_id": rival}
        db.execute(insert(Race).values(**race))
    return added


def _same_search(db: Connection, candidate: CandidateRecord, split: Split) -> int | None:
    """What a recipe asked for again in its search follows, whatever becomes of it."""
    return db.scalar(_IN_SEARCH, _wanted(candidate, split))


def _same_scope(db: Connection, candidate: CandidateRecord, split: Split) -> int | None:
    """The first evaluation of this recipe in other searches of the scope that is scored in full."""
    found: int | None = db.scalar(_IN_SCOPE, _wanted(candidate, split))
    return found


def _wanted(candidate: CandidateRecord, split: Split) -> dict[str, str]:
    return {
        "search": candidate.search_id,
        "recipe": candidate.recipe_id,
        "on": Split(split).value,
    }


def _first_in_scope() -> Any:
    here, there = aliased(Search), aliased(Search)
    lost = exists().where(Race.evaluation_id == Evaluation.id, Race.dropped.is_(True))
    # Races and intervals need the outcomes of whoever is followed.
    archived = exists().where(Archive.search_id == Evaluation.search_id)
    return (
        select(Evaluation.id)
        .join(there, there.id == Evaluation.search_id)
        .join(here, here.scope == there.scope)
        .where(
            here.id == bindparam("search"),
            Evaluation.recipe_id == bindparam("recipe"),
            Evaluation.split == bindparam("on"),
            Evaluation.status == EvaluationStatus.SCORED.value,
            ~lost,
            ~archived,
        )
        .order_by(Evaluation.id)
        .limit(1)
    )


# Made once: to put such statements together takes longer than to run them.
_IN_SCOPE = _first_in_scope()
_IN_SEARCH = (
    select(func.coalesce(Evaluation.copied_from, Evaluation.id))
    .where(
        Evaluation.search_id == bindparam("search"),
        Evaluation.recipe_id == bindparam("recipe"),
        Evaluation.split == bindparam("on"),
    )
    .order_by(Evaluation.id)
    .limit(1)
)


def _insert(db: Connection, search_id: str, candidate: NewCandidate) -> None:
    genome = None if candidate.genome is None else [float(gene) for gene in candidate.genome]
    values = {
        "search_id": search_id,
        "number": candidate.number,
        "origin": Origin(candidate.origin).value,
        "generation": candidate.generation,
        "label": candidate.label,
        "recipe_id": candidate.recipe.recipe_id,
        "recipe": candidate.recipe.canonical_json(),
        "genome": None if genome is None else json.dumps(genome, separators=(",", ":")),
        "created_at": now(),
    }
    added = db.execute(insert(Candidate).values(**values).returning(Candidate.id)).scalar_one()
    if candidate.asked_after is not None:
        db.execute(insert(Ask).values(candidate_id=added, tells=candidate.asked_after))


def _tell(db: Connection, search_id: str, candidate_id: int, place: int, loss: float) -> None:
    if math.isnan(loss):
        raise ValueError(f"candidate {candidate_id}: NaN is no loss; a failure is told as infinity")
    untold = update(Candidate).where(
        Candidate.id == candidate_id, Candidate.search_id == search_id, Candidate.told.is_(None)
    )
    if db.execute(untold.values(told=place, loss=float(loss))).rowcount != 1:
        raise StoreError(
            f"candidate {candidate_id} of search {search_id} was told already, or does not exist",
            remedy=f"go on with `evomerge resume {search_id}`",
        )


def _select(db: Connection, *conditions: Any) -> Sequence[Row[*tuple[Any, ...]]]:
    query = select(*CANDIDATE_COLUMNS).outerjoin(Ask, Ask.candidate_id == Candidate.id)
    return db.execute(query.where(*conditions).order_by(Candidate.number)).all()


def candidate_record(row: Row[*tuple[Any, ...]]) -> CandidateRecord:
    genome = None if row.genome is None else tuple(json.loads(row.genome))
    parsed = {
        "origin": Origin(row.origin),
        "recipe": Recipe.model_validate_json(row.recipe),
        "genome": genome,
    }
    return CandidateRecord(**{**row._mapping, **parsed})
