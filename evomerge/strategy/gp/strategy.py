"""Bayesian optimisation for budgets of tens to hundreds of candidates.

A Gaussian process is fitted to everything that was told, and the next genome is the one that is
expected to improve most on the best that it believes in, inside a region around that. Every
observation helps, whoever asked for it: baselines and earlier searches count from the start.
"""

import numpy as np

from evomerge.space import Genome
from evomerge.strategy.base import Observation, counts, to_losses
from evomerge.strategy.cells import Cells
from evomerge.strategy.gp.acquisition import climb, descend, log_expected_improvement
from evomerge.strategy.gp.features import Features
from evomerge.strategy.gp.model import Model
from evomerge.strategy.gp.process import Floats, Posterior
from evomerge.strategy.gp.proposals import Proposals
from evomerge.strategy.gp.region import Region
from evomerge.strategy.pending import Pending
from evomerge.strategy.threads import one_thread
from evomerge.strategy.told import Told

_CLIMBS = 3
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
        self._ever_asked: set[bytes] = set()
        self._best = np.inf

    @property
    def population_size(self) -> int:
        return self._size

    def ask(self) -> Genome:
        with one_thread():
            if not self._knows(self._start):
                return self._note(self._start, _OUTSIDE)
            if len(self._told) < self._design:
                known = [*self._told.genomes, *self._asked.genomes]
                return self._note(self._proposals.design(self._start, known), _OUTSIDE)
            return self._note(self._most_promising(), self._region.version)

    def tell(self, genome: Genome, observation: Observation) -> None:
        self._told.add(genome, observation)
        version = self._asked.tell(genome)
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
            self._model.update(self._told)
            posterior = self._model.posterior
            low_D, high_D = self._box()
            found = self._locally(posterior, self._model.centre_D, low_D, high_D, None)
            return self._cells.snap(found)

    @property
    def stop_reason(self) -> str | None:
        if self._told.different >= self._cells.combinations:
            return f"all {self._cells.combinations:.0f} genomes of the space were tried"
        return None

    def _note(self, genome: Genome, version: int) -> Genome:
        self._ever_asked.add(genome.tobytes())
        return self._asked.ask(genome, version)

    def _knows(self, genome: Genome) -> bool:
        return genome in self._told or genome.tobytes() in self._ever_asked

    def _most_promising(self) -> Genome:
        """The genome with the highest expected improvement, given what is being scored already."""
        self._model.update(self._told)
        posterior, best = self._model.given(self._asked.genomes)
        low_D, high_D = self._box()
        proposed_MD = self._proposals.around(self._model.centre_D, low_D, high_D)
        value_M = log_expected_improvement(posterior, best, self._features.of(proposed_MD))
        top = proposed_MD[np.argsort(-value_M, kind="stable")[:_CLIMBS]]
        tops_KD = np.array([self._locally(posterior, x, low_D, high_D, best) for x in top])
        value_K = log_expected_improvement(posterior, best, self._features.of(tops_KD))
        ranked = [*tops_KD[np.argsort(-value_K, kind="stable")], *top]
        new = next((one for one in ranked if not self._knows(one)), None)
        return self._anything_new(posterior, best) if new is None else new

    def _anything_new(self, posterior: Posterior, best: float) -> Genome:
        """The most promising genome of a whole space of cut genes that was not asked for yet; where
        there is none any more, the most promising one."""
        everywhere_MD = self._proposals.anywhere()
        new = [one for one in everywhere_MD if not self._knows(one)] or list(everywhere_MD)
        value_M = log_expected_improvement(posterior, best, self._features.of(np.array(new)))
        return new[int(np.argmax(value_M))]

    def _locally(
        self, posterior: Posterior, x_D: Genome, low_D: Genome, high_D: Genome, best: float | None
    ) -> Genome:
        """The best genome reached from `x_D` by slopes and by changing one cut gene at a time:
        by expected improvement on `best`, or by the mean where that is None."""

        def heights(genomes_MD: Genome) -> Floats:
            x_MF = self._features.of(genomes_MD)
            if best is None:
                return -posterior.predict(x_MF)[0]
            return log_expected_improvement(posterior, best, x_MF)

        for _ in range(2):
            x_D = self._by_slopes(posterior, x_D, low_D, high_D, best)
            neighbours_MD = self._proposals.neighbours(x_D)
            if len(neighbours_MD) == 1:
                break
            better = neighbours_MD[int(np.argmax(heights(neighbours_MD)))]
            if np.array_equal(better, x_D):
                break
            x_D = better
        return x_D

    def _by_slopes(
        self, posterior: Posterior, x_D: Genome, low_D: Genome, high_D: Genome, best: float | None
    ) -> Genome:
        free_F = self._features.free
        low_F, high_F = (
            np.where(free_F, self._features.of(end[None])[0], 0.0) for end in (low_D, high_D)
        )
        x_F = self._features.of(x_D[None])[0]
        if best is None:
            found_F = descend(posterior, x_F, low_F, high_F)
        else:
            found_F = climb(posterior, best, x_F, low_F, high_F)
        return self._features.back(x_D, found_F)

    def _box(self) -> tuple[Genome, Genome]:
        lengths_D = self._features.gene_lengths(self._model.parameters.lengths_D)
        return self._region.box(self._model.centre_D, lengths_D)
