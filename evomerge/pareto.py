"""Several objectives at once: which points no other one beats, and how much space they take.

Bigger is better in every objective. Shapes: N points, M objectives. The arithmetic is moocore's
(Fonseca, Paquete & López-Ibáñez 2006 for the hypervolume), loaded when it is first needed.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def pareto_ranks(points_NM: Floats, violations_N: Floats | None = None) -> NDArray[np.int64]:
    """The front of each point, 0 for the best one, as (N,): what no point of an earlier front beats.

    A point is beaten by one that is no worse in any objective and better in one. Points that miss a
    constraint come behind all others, by how far they miss it (Deb et al. 2002).
    """
    import moocore

    count = len(points_NM)
    violations = np.zeros(count) if violations_N is None else np.asarray(violations_N, float)
    ranks_N = np.zeros(count, np.int64)
    feasible = violations == 0
    if feasible.any():
        ranks_N[feasible] = moocore.pareto_rank(points_NM[feasible], maximise=True)
    behind = int(ranks_N[feasible].max()) + 1 if feasible.any() else 0
    _, places = np.unique(violations[~feasible], return_inverse=True)
    ranks_N[~feasible] = behind + places
    return ranks_N


def hypervolume(points_NM: Floats, reference_M: Floats) -> float:
    """The volume of what the points beat or equal and the reference point does not.

    Points below the reference in some objective add nothing.
    """
    import moocore

    if not len(points_NM):
        return 0.0
    return float(moocore.hypervolume(points_NM, ref=reference_M, maximise=True))


def spread_subset(points_NM: Floats, size: int) -> list[int]:
    """At most `size` places of points that together take the most space, found one by one.

    Counted from a whole range below the worst value in each objective, so that the ends of a front count
    too. Greedy choice reaches 1 - 1/e of the best subset (Guerreiro & Fonseca 2016).
    """
    if len(points_NM) <= size:
        return list(range(len(points_NM)))
    low_M, high_M = points_NM.min(axis=0), points_NM.max(axis=0)
    reference_M = low_M - np.where(high_M > low_M, high_M - low_M, 1.0)
    chosen: list[int] = []
    while len(chosen) < size:
        rest = [place for place in range(len(points_NM)) if place not in chosen]
        volumes = [hypervolume(points_NM[[*chosen, place]], reference_M) for place in rest]
        chosen.append(rest[int(np.argmax(volumes))])
    return sorted(chosen)
