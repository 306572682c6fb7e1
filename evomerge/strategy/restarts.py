"""CMA-ES that begins anew when it has settled, for landscapes with many optima.

IPOP doubles the population at each restart (Auger & Hansen 2005, A Restart CMA Evolution Strategy With
Increasing Population Size). BIPOP spends the same on small populations with small steps in between
(Hansen 2009, Benchmarking a BI-Population CMA-ES on the BBOB-2009 Function Testbed).
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from evomerge.space import Genome
from evomerge.strategy.base import Observation, counts, to_losses
from evomerge.strategy.cma_es import CMADistribution
from evomerge.strategy.generational import Draw, GenerationalStrategy
from evomerge.strategy.pending import Pending

_SMALLEST_STEP = 0.01
"""A run that begins with smaller steps has settled before it has begun."""


@dataclass(frozen=True)
class RunSettings:
    """How one run of CMA-ES begins; None stands for CMA-ES's own population."""

    start: Genome
    sigma0: float
    population_size: int | None
    number: int
    small: bool = False


@dataclass
class _Run:
    strategy: GenerationalStrategy[Draw]
    settings: RunSettings
    distributions: list[CMADistribution] = field(default_factory=list)
    told: int = 0
    best: float = np.inf

    @property
    def settled(self) -> bool:
        return self.strategy.generation > 0 and self.distributions[-1].settled()


class RestartingStrategy:
    """Runs of CMA-ES, one after the other; later ones begin anywhere in the box.

    A result that a former run asked for is no business of the present one: it only counts for what is
    recommended.

    Args:
        make: a distribution from the settings of its run.
        bipop: whether runs with small populations take turns with growing ones.
    """

    def __init__(
        self,
        make: Callable[[RunSettings], CMADistribution],
        start: Genome,
        *,
        sigma0: float,
        seed: int,
        population_size: int | None,
        bipop: bool,
    ) -> None:
        self._make, self._sigma0, self._bipop = make, sigma0, bipop
        self._generator = np.random.default_rng([seed, 0xE73])
        self._runs: list[_Run] = []
        self._asked: Pending[int] = Pending()
        self._begin(RunSettings(np.array(start, dtype=np.float64), sigma0, population_size, 0))
        self._base_size = self.population_size

    @property
    def population_size(self) -> int:
        return self._runs[-1].strategy.population_size

    @property
    def parents(self) -> int:
        return self._runs[-1].strategy.parents

    def ask(self) -> Genome:
        if self._runs[-1].settled:
            self._begin(self._next())
        return self._asked.ask(self._runs[-1].strategy.ask(), len(self._runs) - 1)

    def tell(self, genome: Genome, observation: Observation) -> None:
        asked_by = self._asked.tell(genome)
        run = self._runs[-1 if asked_by is None else asked_by]
        run.told += asked_by is not None
        if counts(observation):
            run.best = min(run.best, to_losses([observation])[0])
        if run is self._runs[-1]:
            run.strategy.tell(genome, observation)

    def recommend(self) -> Genome | None:
        """The mean of the run that found the best genome."""
        finished = [run for run in self._runs if run.strategy.generation]
        return min(finished, key=lambda run: run.best).strategy.recommend() if finished else None

    @property
    def stop_reason(self) -> str | None:
        return None

    def _begin(self, settings: RunSettings) -> None:
        made: list[CMADistribution] = []

        def make(start: Genome) -> CMADistribution:
            made.append(self._make(RunSettings(**{**vars(settings), "start": start})))
            return made[-1]

        self._runs.append(_Run(GenerationalStrategy(make, settings.start), settings, made))

    def _next(self) -> RunSettings:
        start = self._generator.random(len(self._runs[0].settings.start))
        large = [run for run in self._runs if not run.settings.small]
        spent = (
            sum(run.told for run in large[1:]),
            sum(run.told for run in self._runs if run.settings.small),
        )
        largest = self._base_size * 2 ** len(large)
        if self._bipop and len(large) > 1 and spent[1] < spent[0]:
            return self._small_run(start, largest // 2)
        return RunSettings(start, self._sigma0, largest, len(self._runs))

    def _small_run(self, start: Genome, largest: int) -> RunSettings:
        """A population between the first one and half the largest, and a step down to a hundredth."""
        size_share, step_share = self._generator.random(2)
        growth = max(1.0, 0.5 * largest / self._base_size)
        size = int(self._base_size * growth ** (size_share**2))
        sigma0 = max(self._sigma0 * 10 ** (-2 * step_share), min(self._sigma0, _SMALLEST_STEP))
        return RunSettings(start, sigma0, size, len(self._runs), small=True)
