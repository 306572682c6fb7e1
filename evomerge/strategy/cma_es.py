"""CMA-ES (Hansen 2016, The CMA Evolution Strategy: A Tutorial), through `cma`.

`cma` draws from numpy's global generator unless told otherwise, and seeds it; both would tie a
search's history to whatever else runs in the process. A private generator is given instead.
"""

import warnings
from collections.abc import Sequence

import numpy as np

from evomerge.space import Genome
from evomerge.strategy.box import Box, off_the_walls
from evomerge.strategy.cells import Cells
from evomerge.strategy.generational import Draw, follow
from evomerge.strategy.leaving_out import leaving_out

with warnings.catch_warnings(), leaving_out("matplotlib", "scipy.stats"):
    # cma looks for both: nothing here plots, or fits the surrogates that want scipy.stats.
    warnings.simplefilter("ignore")
    import cma

_CONVERGED = {"tolx", "noeffectcoord", "noeffectaxis"}
_SETTLED = _CONVERGED | {"tolfun", "tolfunhist", "tolflatfitness", "tolstagnation", "conditioncov"}
_INDIFFERENT = 1e-3
"""Standard deviation below which genomes are the same merge, to the answers of a language model."""


class CMADistribution:
    """A normal distribution in the box, moved by `cma`.

    Args:
        diagonal: learn variances only (Ros & Hansen 2008, A Simple Modification in CMA-ES): faster in
            many dimensions, blind to genes that depend on each other.
    """

    def __init__(
        self,
        start: Genome,
        cells: Cells,
        *,
        sigma0: float,
        generator: np.random.Generator,
        population_size: int | None = None,
        diagonal: bool = False,
    ) -> None:
        self._cells, self._generator = cells, generator
        self._box = Box(cells)
        options = {
            "bounds": [0.0, 1.0],
            "seed": np.nan,
            "randn": lambda *shape: generator.standard_normal(shape),
            "verbose": -9,
            "maxiter": np.inf,
            "maxfevals": np.inf,
            "CMA_diagonal": diagonal,
            "minstd": self._box.least_spread_P,
        }
        if population_size is not None:
            options["popsize"] = population_size
        inside = off_the_walls(self._box.point(start))
        self._es = cma.CMAEvolutionStrategy(inside, sigma0, options)
        self._ready: list[Draw] = []
        self._drawn = False
        self._reasons: tuple[int, set[str]] = (-1, set())

    @property
    def population_size(self) -> int:
        return int(self._es.popsize)

    @property
    def parents(self) -> int:
        return int(self._es.sp.weights.mu)

    def sample(self) -> Draw:
        if not self._ready:
            self._draw()
        draw = self._ready.pop(0)
        if not self._cells.discrete.any():
            return draw
        return Draw(self._box.mutated(draw.point, self._generator), draw.mean)

    def genome(self, sample: Draw) -> Genome:
        return self._box.genome(sample.point)

    def stranger(self, genome: Genome) -> Draw:
        return Draw(self._box.point(genome), None)

    def update(
        self, samples: Sequence[Draw], losses: Sequence[float], strangers: Sequence[int]
    ) -> None:
        if not self._drawn:  # cma will not be told twice without having been asked
            self._draw()
        points = [one.point for one in samples]
        for place in strangers:
            points[place] = np.clip(follow(samples[place], self._mean()), 0.0, 1.0)
        self._es.tell(points, list(losses), check_points=list(strangers) or None)
        self._ready, self._drawn = [], False

    def mean(self) -> Genome:
        return self._box.genome(self._mean())

    def stop_reason(self) -> str | None:
        reasons = _CONVERGED & self._stopped()
        return f"CMA-ES converged ({', '.join(sorted(reasons))})" if reasons else None

    def settled(self) -> bool:
        """Whether it has found all it will find here, with noise or without: time to go elsewhere."""
        stds = self._box.own(np.asarray(self._es.stds))[~self._cells.discrete]
        narrow = bool(len(stds)) and float(stds.max()) < _INDIFFERENT
        return narrow or bool(_SETTLED & self._stopped())

    def _stopped(self) -> set[str]:
        """cma's own criteria that are met; looked at once a generation, as some count their calls."""
        if self._reasons[0] != self._es.countiter:
            self._reasons = self._es.countiter, set(self._es.stop())
        return self._reasons[1]

    def _draw(self) -> None:
        mean = self._mean()
        self._ready = [Draw(np.asarray(one, dtype=np.float64), mean) for one in self._es.ask()]
        self._drawn = True

    def _mean(self) -> Genome:
        return np.asarray(self._es.result.xfavorite, dtype=np.float64)
