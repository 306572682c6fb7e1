"""CatCMA with margin: numbers, whole numbers and names in one distribution, through `cmaes`.

Hamano et al. 2025, CatCMA with Margin: a normal distribution for what has an order, a categorical one
for what has none, and for both a least chance of every value, so that none is lost for good.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np
from cmaes import CatCMAwM

from evomerge.space import Genome
from evomerge.strategy.box import off_the_walls
from evomerge.strategy.cells import Cells
from evomerge.strategy.generational import Draw, follow, shorten

_START_SHARE = 0.5
"""A name of the start has this chance, and its share of the rest."""


@dataclasses.dataclass(frozen=True)
class MixedDraw:
    """A sample of `cmaes`, and the mean of the normal part that it was drawn around."""

    solution: CatCMAwM.Solution
    mean: Genome | None


class CatCMADistribution:
    """A distribution over numbers (x), whole numbers (z) and names (c)."""

    def __init__(
        self,
        start: Genome,
        cells: Cells,
        *,
        sigma0: float,
        seed: int,
        population_size: int | None = None,
    ) -> None:
        self._cells, self._start = cells, cells.snap(start)
        # Two values have no order to speak of; one value is none to search.
        in_order = cells.ordered & (cells.counts > 2)
        names = cells.discrete & ~in_order & (cells.counts > 1)
        self._x = np.flatnonzero(~cells.discrete)
        self._z = np.flatnonzero(in_order)
        self._c = np.flatnonzero(names)
        normal = np.concatenate([self._x, self._z])
        middles = [(np.arange(count) + 0.5) / count for count in cells.counts[self._z]]
        # At two, a generation has one parent and nothing to weigh against each other.
        with np.errstate(divide="ignore"):
            self._es = CatCMAwM(
                x_space=[[0.0, 1.0]] * len(self._x) or None,
                z_space=middles or None,
                c_space=cells.counts[self._c].tolist() or None,
                population_size=population_size,
                mean=off_the_walls(self._start[normal]) if len(normal) else None,
                sigma=sigma0,
                cov=np.eye(len(normal)) if len(normal) else None,
                cat_param=self._shares() if len(self._c) else None,
                seed=seed,
            )
        self._mend_limits()

    @property
    def population_size(self) -> int:
        return int(self._es.population_size)

    @property
    def parents(self) -> int:
        return max(1, self.population_size // 2)

    def sample(self) -> MixedDraw:
        return MixedDraw(self._es.ask(), self._normal_mean())

    def genome(self, sample: MixedDraw) -> Genome:
        one = sample.solution
        return self._assemble(one.x, one.z, None if one.c is None else one.c.argmax(1))

    def stranger(self, genome: Genome) -> MixedDraw:
        genome = self._cells.snap(genome)
        c = None
        if len(self._c):
            c = np.zeros((len(self._c), int(self._cells.counts[self._c].max())), dtype=bool)
            c[np.arange(len(self._c)), self._cells.index(genome)[self._c]] = True
        normal = np.concatenate([self._x, self._z])
        raw = genome[normal] if len(normal) else None
        x = genome[self._x] if len(self._x) else None
        z = genome[self._z] if len(self._z) else None
        return MixedDraw(CatCMAwM.Solution(x, z, c, raw), None)

    def update(
        self, samples: Sequence[MixedDraw], losses: Sequence[float], strangers: Sequence[int]
    ) -> None:
        solutions = [one.solution for one in samples]
        for place in strangers:
            solutions[place] = self._shortened(samples[place])
        # Ranks, not losses: the penalty of genes beyond the box is scaled by the spread of losses,
        # which one collapsed merge would blow up and a plateau would take away.
        ranks = np.empty(len(losses))
        ranks[np.argsort(losses, kind="stable")] = np.arange(len(losses))
        self._es.tell(list(zip(solutions, ranks, strict=True)))

    def mean(self) -> Genome:
        z = self._es._discretization(self._es._mean[len(self._x) :]) if len(self._z) else None
        c = self._es._q.argmax(1) if len(self._c) else None
        x = self._es._mean[: len(self._x)] if len(self._x) else None
        return self._assemble(x, z, c)

    def stop_reason(self) -> str | None:
        if len(self._x) == self._cells.dimension and self._es.should_stop():
            return "CatCMA converged"
        return None

    def _shortened(self, draw: MixedDraw) -> CatCMAwM.Solution:
        raw, mean = draw.solution._v_raw, self._normal_mean()
        if raw is None or mean is None:
            return draw.solution
        step = (follow(Draw(raw, draw.mean), mean) - mean) / self._es._A
        shortened = self._es._A * shorten(step, self._es._C, self._es._sigma)
        return dataclasses.replace(draw.solution, _v_raw=mean + shortened)

    def _assemble(
        self,
        x: Genome | None,
        z: Genome | None,
        c: "np.ndarray[tuple[int], np.dtype[np.intp]] | None",
    ) -> Genome:
        genome = self._start.copy()
        if x is not None:
            genome[self._x] = x
        if z is not None:
            genome[self._z] = z
        if c is not None:
            genome[self._c] = (c + 0.5) / self._cells.counts[self._c]
        return self._cells.snap(genome)

    def _normal_mean(self) -> Genome | None:
        return self._es._mean.copy() if len(self._x) + len(self._z) else None

    def _mend_limits(self) -> None:
        """Where genes differ in their number of values, `cmaes` fills up the shorter rows of limits
        between them by the largest value: beyond it, a gene is taken to be at a limit that divides
        nothing, and stays in its last cell for good. Filled up by the last limit, rows mean the same."""
        for row, count in enumerate(self._cells.counts[self._z]):
            self._es._z_lim[row, count - 1 :] = self._es._z_lim[row, count - 2]

    def _shares(self) -> Genome:
        """The chance of each name at the beginning: the start's are more likely than the others."""
        counts, at = self._cells.counts[self._c], self._cells.index(self._start)[self._c]
        shares = np.zeros((len(counts), int(counts.max())))
        for row, (count, start) in enumerate(zip(counts, at, strict=True)):
            shares[row, :count] = (1 - _START_SHARE) / count
            shares[row, start] += _START_SHARE
        return shares
