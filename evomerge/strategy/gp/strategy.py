"""Bayesian optimisation for budgets of tens to hundreds of candidates.

A Gaussian process is fitted to everything that was told, and the next genome is the one that is
expected to improve most on the best that it believes in, inside a region around that. Every
observation helps, whoever asked for it: baselines and earlier searches count from the start.
"""

from copy import copy

import numpy as np

from evomerge.space import Genome
from evomerge.strategy.base import Observation, counts, to_losses
from evomerge.strategy.cells import Cells
from evomerge.strategy.gp.acquisition import Depth, Height, LogImprovement, climb
from evomerge.strategy.gp.features import Features
from evomerge.strategy.gp.model import Model
from evomerge.strategy.gp.proposals import Proposals
from evomerge.strategy.gp.region import Region
from evomerge.strategy.pending import Pending
from evomerge.strategy.threads import one_thread
from evomerge.strategy.told import Told

_CLIMBS = 3
_ROUNDS = 2
_OUTSIDE = -1
"""The version of genomes that belong to no region: the first design, and other people's."""
_ENOUGH_BETTER = 1e-3


class GaussianProcessStrategy:
    """Expected improvement in a region that grows and shrinks.

    Args:
        start: the first genome, and the centre of the first design.
        cells: which genes take a few values only; it asks for the middles of their cells.
        sigma0: how far from `start` the best genome is expected to lie.
        budget: candidates in the whole search; the first design takes at most a quarter.
    """

    parents = 1

    def __init__(
        self,
        start: Genome,
        cells: Cells,
        *,
        sigma0: float,
        seed: int,
        budget: int,
        population_size: int,
    ) -> None:
        self._cells, self._features = cells, Features(cells)
        self._start = cells.snap(start)
        self._size = population_size
        self._design = max(3, min(2 + cells.dimension // 4, budget // 4))
        self._proposals = Proposals(cells, sigma0, np.random.default_rng([seed, 0xE76]))
        self._region = Region(3.2 * sigma0, cells.dimension)
        self._told, self._model = Told(), Model(self._features)
        self._asked: Pending[int] = Pending()
        self._known: set[bytes] = set()
        """Bits of all genomes that were asked for or told."""
        self._best = np.inf

    @property
    def population_size(self) -> int:
        return self._size

    def ask(self) -> Genome:
        with one_thread():
            if self._is_new(self._start):
                return self._note(self._start, _OUTSIDE)
            if len(self._told) < self._design:
                known = [*self._told.genomes, *self._asked.genomes]
                return self._note(self._proposals.design(self._start, known), _OUTSIDE)
            return self._note(self._most_promising(), self._region.version)

    def tell(self, genome: Genome, observation: Observation) -> None:
        version = self._asked.tell(genome)
        own = self._cells.snap(genome)
        self._known.add(own.tobytes())
        self._told.add(own, observation)
        loss = to_losses([observation])[0] if counts(observation) else np.inf
        if version == self._region.version:
            step = _ENOUGH_BETTER * abs(self._best) if np.isfinite(self._best) else 0.0
            self._region.update(loss < self._best - step)
        self._best = min(self._best, loss)

    def recommend(self) -> Genome | None:
        """Where the model's mean is lowest, around the best genome that was told."""
        if len(self._told) < self._design:
            return None
        with one_thread():
            # A copy: to be looked at must not decide when hyperparameters are renewed.
            model = copy(self._model)
            model.update(self._told)
            found = self._climb(Depth(model.posterior), model.centre_D, self._box(model))
        return self._cells.snap(found)

    @property
    def stop_reason(self) -> str | None:
        if len(self._known) >= self._cells.combinations:
            return f"all {self._cells.combinations:.0f} genomes of the space were tried"
        return None

    def _note(self, genome: Genome, version: int) -> Genome:
        self._known.add(genome.tobytes())
        return self._asked.ask(genome, version)

    def _is_new(self, genome: Genome) -> bool:
        return genome.tobytes() not in self._known

    def _most_promising(self) -> Genome:
        """The genome with the highest expected improvement, given what is being scored already."""
        self._model.update(self._told)
        height = LogImprovement(*self._model.given(self._asked.genomes))
        box = self._box(self._model)
        proposed = self._best_first(self._proposals.around(self._model.centre_D, *box), height)
        tops = [self._climb(height, one, box) for one in proposed[:_CLIMBS]]
        ranked = [*self._best_first(np.array(tops), height), *proposed[:_CLIMBS]]
        new = next(filter(self._is_new, ranked), None)
        return self._anything_new(height) if new is None else new

    def _anything_new(self, height: Height) -> Genome:
        """The most promising genome of the whole box that was not asked for yet; where there is none
        any more, the most promising one."""
        ranked = self._best_first(self._proposals.anywhere(), height)
        return next(filter(self._is_new, ranked), ranked[0])

    def _best_first(self, genomes_MD: Genome, height: Height) -> list[Genome]:
        order = np.argsort(-height.at(self._features.of(genomes_MD)), kind="stable")
        return list(genomes_MD[order])

    def _climb(self, height: Height, x_D: Genome, box: tuple[Genome, Genome]) -> Genome:
        """The best genome reached from `x_D` by slopes and by changing one cut gene at a time."""
        for _ in range(_ROUNDS):
            x_D = self._climb_slopes(height, x_D, box)
            neighbours_MD = self._proposals.neighbours(x_D)
            if len(neighbours_MD) == 1:
                break
            better_D = self._best_first(neighbours_MD, height)[0]
            if np.array_equal(better_D, x_D):
                break
            x_D = better_D
        return x_D

    def _climb_slopes(self, height: Height, x_D: Genome, box: tuple[Genome, Genome]) -> Genome:
        free_F = self._features.free
        low_F, high_F = (np.where(free_F, self._features.of(end_D[None])[0], 0.0) for end_D in box)
        found_F = climb(height, self._features.of(x_D[None])[0], low_F, high_F)
        return self._features.back(x_D, found_F)

    def _box(self, model: Model) -> tuple[Genome, Genome]:
        lengths_D = self._features.gene_lengths(model.parameters.lengths_D)
        return self._region.box(model.centre_D, lengths_D)
