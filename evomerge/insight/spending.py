"""Where the time went, and how many documents races saved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from evomerge.fitness import Costs, Split
from evomerge.insight.history import answered
from evomerge.store.api import Store
from evomerge.store.types import AnyCandidate, EvaluationRecord, EvaluationStatus, Origin

KINDS = tuple(f.name.removesuffix("_seconds") for f in fields(Costs) if f.name.endswith("_seconds"))
"""What a candidate's own time goes into."""


@dataclass(frozen=True)
class Documents:
    """What the search's candidates answered of the search split, and what they would have without races.

    taken_over: candidates whose recipe had been scored before, which cost nothing.
    """

    answered: int
    full: int
    candidates: int
    dropped: int
    taken_over: int

    @property
    def saved(self) -> float:
        """The share of documents that nobody had to answer because of races."""
        return 1 - self.answered / self.full if self.full else 0.0


@dataclass(frozen=True)
class Spending:
    """Worker time and documents.

    seconds: of all workers, by what they were spent on: `merge`, `load`, `forward` and `overhead` of
        results that count; `lost`, attempts that failed or came to nothing; `other`, the rest of what
        workers were busy with: starting engines, writing results; `waiting`, between a worker's first
        and last attempt, with nothing to do.
    """

    seconds: Mapping[str, float]
    tokens: int
    workers: int
    documents: Documents

    @property
    def busy(self) -> float:
        """The share of the workers' time in which they had something to do."""
        total = sum(self.seconds.values())
        return 1 - self.seconds["waiting"] / total if total else 0.0


def read_spending(
    store: Store,
    search_id: str,
    candidates: Sequence[AnyCandidate],
    evaluations: Sequence[EvaluationRecord],
) -> Spending:
    """What a search has cost so far."""
    workers = _rows(store, "workers", search_id)
    costs = _rows(store, "costs", search_id)
    own = {kind: sum(row[f"{kind}_seconds"] for row in costs) for kind in KINDS}
    lost = sum(row["wasted_seconds"] for row in costs)
    busy = sum(row["busy_seconds"] for row in workers)
    present = sum(row["present_seconds"] for row in workers)
    rest = {
        "lost": lost,
        "other": max(0.0, busy - lost - sum(own.values())),
        "waiting": max(0.0, present - busy),
    }
    return Spending(
        seconds=own | rest,
        tokens=sum(int(row["tokens"]) for row in costs),
        workers=len(workers),
        documents=_documents(candidates, evaluations),
    )


def _rows(store: Store, query: str, search_id: str) -> list[dict[str, float]]:
    columns, rows = store.query(query, {"search": search_id})
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _documents(
    candidates: Sequence[AnyCandidate], evaluations: Sequence[EvaluationRecord]
) -> Documents:
    searched = {c.id for c in candidates if c.origin is Origin.SEARCH}
    ended = (EvaluationStatus.SCORED, EvaluationStatus.DROPPED)
    tried = [
        e
        for e in evaluations
        if e.split is Split.SEARCH and e.candidate_id in searched and e.status in ended
    ]
    own = [e for e in tried if e.copied_from is None]
    # Baselines never race: what they answered is the whole split, even where everyone else dropped out.
    whole = max((answered(e) for e in evaluations if e.split is Split.SEARCH), default=0)
    return Documents(
        answered=sum(answered(e) for e in own),
        full=whole * len(own),
        candidates=len(tried),
        dropped=sum(e.status is EvaluationStatus.DROPPED for e in own),
        taken_over=len(tried) - len(own),
    )
