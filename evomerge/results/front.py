"""The front of a search for several objectives, and how far it reaches beyond the baselines.

Shapes: R rows (members, then baselines), M objectives, B draws.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from evomerge.bootstrap import Estimate, Floats, basic_interval
from evomerge.comparison import Comparison
from evomerge.errors import TaskError
from evomerge.fitness import (
    Objective,
    References,
    Split,
    compute_objectives,
    objectives_of_draws,
)
from evomerge.pareto import hypervolume, pareto_ranks
from evomerge.results.types import Front, Member, Row
from evomerge.store.types import EvaluationRecord

_DRAWS = 400


def objectives_of(
    objective: Objective, references: References, evaluations: Sequence[EvaluationRecord]
) -> list[dict[str, float]]:
    """The objectives of each evaluation by name."""
    found = [compute_objectives(objective, e.scores, references) for e in evaluations]
    return [{one.name: one.value for one in values} for values in found]


def find_front(
    points: Sequence[Mapping[str, float]], evaluations: Sequence[EvaluationRecord]
) -> list[int]:
    """The places of those evaluations that no other one beats, the best in the first objective first.

    Those that miss a constraint are in it only where all do. `points` are their objectives.
    """
    points_NM = np.array([list(point.values()) for point in points])
    violations_N = np.array([e.violation or 0.0 for e in evaluations])
    first = np.flatnonzero(pareto_ranks(points_NM, violations_N) == 0)
    return sorted(first.tolist(), key=lambda place: tuple(-points_NM[place]))


def make_front(
    split: Split,
    objective: Objective,
    references: References,
    comparison: Comparison,
    members: Sequence[Row],
    baselines: Sequence[Row],
    beaten: Sequence[Mapping[str, float]] = (),
) -> Front:
    """The front of `members` beside the baselines; `comparison` holds both, in this order."""
    points_RM = np.array([list(row.objectives.values()) for row in (*members, *baselines)])
    names = list(members[0].objectives)
    reference_M = points_RM[len(members) :].min(axis=0)
    draws = _objective_draws(objective, references, comparison, len(points_RM))
    return Front(
        split=split,
        documents=comparison.documents,
        members=tuple(Member(row, _beaten(row, baselines)) for row in members),
        reference=dict(zip(names, reference_M.tolist(), strict=True)),
        hypervolume=hypervolume(points_RM[: len(members)], reference_M),
        baseline_hypervolume=hypervolume(points_RM[len(members) :], reference_M),
        gain=_gain(points_RM, draws, len(members), reference_M),
        rivals=tuple(baselines),
        beaten=tuple(beaten),
    )


def _beaten(member: Row, baselines: Sequence[Row]) -> tuple[str, ...]:
    return tuple(row.label for row in baselines if _beats(member.objectives, row.objectives))


def _beats(one: Mapping[str, float], other: Mapping[str, float]) -> bool:
    return all(one[n] >= other[n] for n in one) and any(one[n] > other[n] for n in one)


def _objective_draws(
    objective: Objective, references: References, comparison: Comparison, rows: int
) -> Floats | None:
    """Draws of every row's objectives over the same resampled documents, as (B, R, M)."""
    found = []
    for row in range(rows):
        draws = comparison.score_draws(row)
        if draws is None:
            return None
        few = {task: values[:_DRAWS] for task, values in draws.items()}
        try:
            found.append(objectives_of_draws(objective, few, references))
        except TaskError:  # a custom objective that knows nothing of scores so far out
            return None
    return np.array(found).transpose(2, 0, 1)


def _gain(
    points_RM: Floats, draws_BRM: Floats | None, members: int, reference_M: Floats
) -> Estimate:
    def gain(points: Floats) -> float:
        front, rivals = points[:members], points[members:]
        return hypervolume(front, reference_M) - hypervolume(rivals, reference_M)

    # Noise makes every hypervolume larger; the mirrored interval takes that back.
    drawn = None if draws_BRM is None else np.array([gain(points) for points in draws_BRM])
    return basic_interval(gain(points_RM), drawn)
