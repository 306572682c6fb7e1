"""The front of a search for several objectives, as far as a page can afford to look."""

from collections.abc import Mapping, Sequence

from evomerge.errors import TaskError
from evomerge.fitness import Objective, References, Split, compute_objectives
from evomerge.report.charts import Cloud
from evomerge.results import is_baseline, label_of, read_references
from evomerge.results.front import find_front
from evomerge.store import SQLStore
from evomerge.store.types import CandidateRecord, EvaluationRecord, Origin, SearchRecord

LOOKED_AT = 600
"""So many of the best by fitness are looked at; the report looks at all."""


def read_cloud(
    store: SQLStore,
    search: SearchRecord,
    chosen: Sequence[tuple[CandidateRecord, EvaluationRecord]],
) -> Cloud | None:
    """Candidates by their objectives on the search split.

    None where there is only one objective, or one of a package that is not installed here.
    """
    objective = search.spec.objective
    try:
        if objective.number_of_objectives < 2:
            return None
    except TaskError:
        return None
    searched = {c.id: e for c, e in chosen if e.split is Split.SEARCH and e.fitness is not None}
    candidates = {c.id: c for c, _ in chosen}
    references = read_references(search, list(candidates.values()), searched)
    baselines = {
        label_of(candidates[key]): evaluation
        for key, evaluation in searched.items()
        if is_baseline(candidates[key])
    }
    names = {c.number for c in candidates.values() if c.origin is Origin.BASELINE}
    tried = [
        pair for pair in store.leading(search.id, LOOKED_AT + len(names)) if pair[0] not in names
    ]
    try:
        points = [_point(objective, e, references) for _, e in tried]
        rivals = [(name, _point(objective, e, references)) for name, e in baselines.items()]
    except (TaskError, KeyError):  # the scores that the objective refers to are not there yet
        return None
    if not points:
        return None
    front = find_front(points, [e for _, e in tried])
    members = [(f"candidate {tried[place][0]}", points[place]) for place in front]
    beaten = [point for place, point in enumerate(points) if place not in set(front)]
    return Cloud(members, rivals, beaten)


def front_words(cloud: Cloud) -> str:
    """How far the front reaches beyond the baselines, on the documents that the search climbs."""
    reached = [
        point
        for _, point in cloud.members
        if not any(_beats(rival, point) for _, rival in cloud.rivals)
    ]
    many = len(cloud.members)
    merges = "1 merge is" if many == 1 else f"{many} merges are"
    if not cloud.rivals:
        return f"{merges} on the front."
    if not reached:
        return f"{merges} on the front, and a baseline beats each of them in every objective."
    if len(reached) == many:
        return f"{merges} on the front, and no baseline beats any of them in every objective."
    return (
        f"{merges} on the front, and no baseline beats {len(reached)} of them in every objective."
    )


def _beats(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return all(one[n] >= other[n] for n in one) and any(one[n] > other[n] for n in one)


def _point(
    objective: Objective, evaluation: EvaluationRecord, references: References
) -> dict[str, float]:
    values = compute_objectives(objective, evaluation.scores, references)
    return {one.name: one.value for one in values}
