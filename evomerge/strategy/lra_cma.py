"""CMA-ES with learning-rate adaptation, for noisy losses and many optima, through `cmaes`.

Nomura, Akimoto & Ono 2023, CMA-ES with Learning Rate Adaptation: steps are made smaller where they
contradict each other, which is what noise does. It takes more candidates than CMA-ES where there is
little noise.
"""

from collections.abc import Sequence

import numpy as np
from cmaes import CMA

from evomerge.space import Genome
from evomerge.strategy.box import Box, off_the_walls
from evomerge.strategy.cells import Cells
from evomerge.strategy.generational import Draw, follow, shorten


class LRADistribution:
    """A normal distribution in the box; what falls outside is drawn again."""

    def __init__(
        self,
        start: Genome,
        cells: Cells,
        *,
        sigma0: float,
        seed: int,
        population_size: int | None = None,
    ) -> None:
        self._box, self._generator = Box(cells), np.random.default_rng([seed, 0xE78])
        self._least_P = self._box.least_spread_P
        inside = off_the_walls(self._box.point(start))
        # At two, a generation has one parent and nothing to weigh against each other.
        with np.errstate(divide="ignore"):
            self._es = CMA(
                mean=inside,
                sigma=sigma0,
                bounds=np.tile([0.0, 1.0], (len(inside), 1)),
                seed=seed,
                population_size=population_size,
                lr_adapt=True,
            )

    @property
    def population_size(self) -> int:
        return int(self._es.population_size)

    @property
    def parents(self) -> int:
        return max(1, self.population_size // 2)

    def sample(self) -> Draw:
        point = np.asarray(self._es.ask(), dtype=np.float64)
        return Draw(self._box.mutated(point, self._generator), self._es.mean.copy())

    def genome(self, sample: Draw) -> Genome:
        return self._box.genome(sample.point)

    def stranger(self, genome: Genome) -> Draw:
        return Draw(self._box.point(genome), None)

    def update(
        self, samples: Sequence[Draw], losses: Sequence[float], strangers: Sequence[int]
    ) -> None:
        points = [one.point for one in samples]
        for place in strangers:
            step = follow(samples[place], self._es.mean) - self._es.mean
            points[place] = self._es.mean + shorten(step, self._es._C, self._es._sigma)
        self._es.tell(list(zip(points, losses, strict=True)))
        self._keep_margin()

    def mean(self) -> Genome:
        return self._box.genome(self._es.mean)

    def stop_reason(self) -> str | None:
        return "CMA-ES converged" if self._es.should_stop() else None

    def _keep_margin(self) -> None:
        """Widen cut genes that are about to freeze in one cell."""
        deviation_P = self._es._sigma * np.sqrt(np.diag(self._es._C))
        wider_P = np.maximum(1.0, self._least_P / deviation_P)
        if (wider_P > 1).any():
            self._es._C = self._es._C * np.outer(wider_P, wider_P)
            self._es._B = self._es._D = None
