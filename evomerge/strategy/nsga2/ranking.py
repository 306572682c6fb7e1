"""Which of several objectives' trade-offs are better: dominance, fronts, crowding.

Deb, Pratap, Agarwal & Meyarivan 2002, A Fast and Elitist Multiobjective Genetic Algorithm: NSGA-II.
Shapes: N genomes, M objectives.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def rank(losses_NM: Floats, violations_N: Floats) -> Ints:
    """The front of each genome, 0 for those that nothing dominates.

    Constraint domination: without a violation before with one, smaller violations before larger ones,
    and by losses only where both have none.
    """
    feasible_N = violations_N == 0
    no_worse_NN = (losses_NM[:, None] <= losses_NM[None]).all(2)
    better_NN = (losses_NM[:, None] < losses_NM[None]).any(2)
    by_losses_NN = no_worse_NN & better_NN & feasible_N[:, None] & feasible_N
    dominates_NN = by_losses_NN | (violations_N[:, None] < violations_N)
    fronts_N = np.full(len(losses_NM), -1)
    left_N = np.ones(len(losses_NM), dtype=bool)
    front = 0
    while left_N.any():
        first_N = left_N & ~dominates_NN[left_N].any(0)
        fronts_N[first_N] = front
        left_N &= ~first_N
        front += 1
    return fronts_N


def crowding(losses_NM: Floats, fronts_N: Ints) -> Floats:
    """How alone each genome is on its front: the sum over objectives of the way between its
    neighbours, in units of the front's extent; infinite at the ends."""
    alone_N = np.zeros(len(losses_NM))
    for front in range(int(fronts_N.max()) + 1):
        members = np.flatnonzero(fronts_N == front)
        for losses in losses_NM[members].T:
            order = members[np.argsort(losses, kind="stable")]
            ordered = np.sort(losses)
            extent = ordered[-1] - ordered[0]
            alone_N[order[[0, -1]]] = np.inf
            if np.isfinite(extent) and extent > 0:
                alone_N[order[1:-1]] += (ordered[2:] - ordered[:-2]) / extent
    return alone_N


def best_first(losses_NM: Floats, violations_N: Floats) -> tuple[Ints, Ints, Floats]:
    """Places of genomes by front and then by crowding; their fronts, and how alone they are."""
    fronts_N = rank(losses_NM, violations_N)
    alone_N = crowding(losses_NM, fronts_N)
    return np.lexsort((-alone_N, fronts_N)), fronts_N, alone_N
