"""The course of a search: every candidate in the order it was asked for, and what it had cost by then."""

from collections.abc import Sequence
from dataclasses import dataclass

from evomerge.fitness import Split
from evomerge.results import label_of
from evomerge.store.types import AnyCandidate, EvaluationRecord, EvaluationStatus, Origin


@dataclass(frozen=True)
class Point:
    """One candidate of the search.

    fitness: on the search split; of a dropped candidate an estimate from the documents that it answered.
    documents: answered by the search's candidates up to this one. best: the best fitness up to this
    one, of those that answered every document and keep all constraints; None before the first.
    """

    number: int
    label: str
    fitness: float
    feasible: bool
    dropped: bool
    documents: int
    best: float | None


def read_history(
    candidates: Sequence[AnyCandidate], evaluations: Sequence[EvaluationRecord]
) -> tuple[Point, ...]:
    """The search's candidates that have a fitness, by number."""
    found = {e.candidate_id: e for e in evaluations if e.split is Split.SEARCH}
    points: list[Point] = []
    documents, best = 0, None
    for candidate in sorted(candidates, key=lambda c: c.number):
        evaluation = found.get(candidate.id)
        if candidate.origin is not Origin.SEARCH or evaluation is None:
            continue
        documents += answered(evaluation)
        if evaluation.fitness is None:
            continue
        dropped = evaluation.status is EvaluationStatus.DROPPED
        feasible = not evaluation.violation
        if feasible and not dropped and (best is None or evaluation.fitness > best):
            best = evaluation.fitness
        points.append(
            Point(
                number=candidate.number,
                label=label_of(candidate),
                fitness=evaluation.fitness,
                feasible=feasible,
                dropped=dropped,
                documents=documents,
                best=best,
            )
        )
    return tuple(points)


def answered(evaluation: EvaluationRecord) -> int:
    """Documents answered for an evaluation; none where its result was taken over."""
    if evaluation.copied_from is not None:
        return 0
    return evaluation.documents
