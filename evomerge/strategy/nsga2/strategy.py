"""NSGA-II for several objectives, one genome at a time.

Deb et al. 2002, in the steady-state form (Durillo et al. 2009, On the Effect of the Steady-State Selection
Scheme in Multi-Objective Genetic Algorithms): each result enters the population at once and the worst
one leaves it, so nothing ever waits for a generation, and results of genomes that it never asked for are
parents like all others.
"""

import numpy as np

from evomerge.space import Genome
from evomerge.strategy.base import Observation
from evomerge.strategy.cells import Cells
from evomerge.strategy.nsga2.ranking import best_first
from evomerge.strategy.nsga2.variation import Variation
from evomerge.strategy.pending import Pending

_POPULATION = 24
_TRIES = 8
_HUGE = 1e300


class NSGA2Strategy:
    """A population of trade-offs.

    Args:
        start: the first genome. Half of the first population lies around it, half anywhere.
        sigma0: the standard deviation of that half.
        objectives: how many losses each observation has.
    """

    def __init__(
        self,
        start: Genome,
        cells: Cells,
        *,
        sigma0: float,
        seed: int,
        objectives: int,
        population_size: int | None = None,
    ) -> None:
        self._generator = np.random.default_rng([seed, 0xE72])
        self._cells, self._sigma0, self._objectives = cells, sigma0, objectives
        self._start = cells.snap(start)
        self._size = population_size or _POPULATION
        self._variation = Variation(cells, self._generator)
        self._pending: Pending[None] = Pending()
        self._asked = 0
        self._genomes = np.empty((0, cells.dimension))
        self._losses = np.empty((0, objectives))
        self._violations = np.empty(0)
        self._fronts = np.empty(0, dtype=np.int64)
        self._alone = np.empty(0)

    @property
    def population_size(self) -> int:
        return self._size

    @property
    def parents(self) -> int:
        return self._size

    def ask(self) -> Genome:
        self._asked += 1
        if self._asked <= self._size or len(self._genomes) < 2:
            return self._pending.ask(self._first(), None)
        return self._pending.ask(self._child(), None)

    def tell(self, genome: Genome, observation: Observation) -> None:
        self._pending.tell(genome)
        losses = np.full(self._objectives, _HUGE)
        violation = np.inf
        if observation.losses is not None:
            losses = np.clip(observation.losses, -_HUGE, _HUGE)
            violation = observation.violation
        self._genomes = np.vstack([self._genomes, genome])
        self._losses = np.vstack([self._losses, losses])
        self._violations = np.append(self._violations, violation)
        self._keep_best()

    def recommend(self) -> Genome | None:
        """None: a front has no single best, and every member of it was seen."""
        return None

    @property
    def stop_reason(self) -> str | None:
        return None

    def _first(self) -> Genome:
        if self._asked == 1:
            return self._start
        if self._asked % 2:
            return self._cells.snap(self._generator.random(self._cells.dimension))
        step = self._sigma0 * self._generator.standard_normal(self._cells.dimension)
        return self._cells.snap(self._start + step)

    def _child(self) -> Genome:
        """A child that is not in the population and is not being scored, if one is found soon."""
        known = {one.tobytes() for one in (*self._genomes, *self._pending.genomes)}
        for _ in range(_TRIES):
            mother, father = (self._genomes[self._pick()] for _ in range(2))
            child = self._variation.child(mother, father)
            if child.tobytes() not in known:
                break
        return child

    def _pick(self) -> int:
        """The better one of two: the lower front, and on the same front the more lonely."""
        one, other = self._generator.integers(len(self._genomes), size=2)
        key = (self._fronts[one], -self._alone[one]) <= (self._fronts[other], -self._alone[other])
        return int(one if key else other)

    def _keep_best(self) -> None:
        order, fronts, alone = best_first(self._losses, self._violations)
        # In told order, so that equally good ones do not change places.
        kept = np.sort(order[: self._size])
        self._genomes, self._losses = self._genomes[kept], self._losses[kept]
        self._violations = self._violations[kept]
        self._fronts, self._alone = fronts[kept], alone[kept]
