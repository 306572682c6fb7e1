"""How far a search is: counts from indexes alone, so that a long search answers as fast as a short one."""

from typing import Any

from sqlalchemy import Connection, Row, func, select

from evomerge.fitness import Split
from evomerge.store.candidates import find_candidate
from evomerge.store.schema import Candidate, Evaluation, Race
from evomerge.store.transactions import Transactions, reads
from evomerge.store.types import Origin, Progress


class ProgressReader(Transactions):
    """What `status` asks."""

    @reads
    def progress(self, db: Connection, search_id: str) -> Progress:
        """How far a search is."""
        candidates = _following(db, search_id, Candidate.number)
        first = select(Candidate.number).where(
            Candidate.search_id == search_id, Candidate.origin == Origin.SEARCH.value
        )
        first_searched = db.scalar(first.order_by(Candidate.number).limit(1))
        best = _find_best(db, search_id)
        return Progress(
            baselines=candidates if first_searched is None else first_searched,
            candidates=candidates,
            told=_following(db, search_id, Candidate.told),
            counts={split: _counts(db, search_id, split) for split in Split},
            best=None if best is None else find_candidate(db, best.candidate_id),
            best_fitness=None if best is None else best.fitness,
        )


def _following(db: Connection, search_id: str, column: Any) -> int:
    """One more than the highest number in a column that counts from 0 without gaps."""
    last = db.scalar(select(func.max(column)).where(Candidate.search_id == search_id))
    return 0 if last is None else int(last) + 1


def _find_best(db: Connection, search_id: str) -> Row[*tuple[Any, ...]] | None:
    """The highest fitness among the smallest violations: two steps along one index."""
    searched = (Evaluation.search_id == search_id, Evaluation.split == Split.SEARCH.value)
    least = db.scalar(select(func.min(Evaluation.violation)).where(*searched))
    query = select(Evaluation.candidate_id, Evaluation.fitness).where(
        *searched, Evaluation.violation == least
    )
    return db.execute(query.order_by(Evaluation.fitness.desc()).limit(1)).one_or_none()


def _counts(db: Connection, search_id: str, split: Split) -> dict[str, int]:
    query = (
        select(Evaluation.status, func.count())
        .where(Evaluation.search_id == search_id, Evaluation.split == split.value)
        .group_by(Evaluation.status)
    )
    counts = {status or "reused": int(count) for status, count in db.execute(query)}
    if split is Split.SEARCH:
        lost = select(func.count()).where(Race.search_id == search_id, Race.dropped.is_(True))
        counts["dropped"] = int(db.scalar(lost) or 0)
        counts["scored"] = counts.get("scored", 0) - counts["dropped"]
    return counts
