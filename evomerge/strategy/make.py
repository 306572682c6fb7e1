"""From a search file's `strategy:` to a strategy.

Each is imported when it is made: the libraries behind them take a second to load, which no command that
only looks at a search should wait for.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from evomerge.errors import SpecError
from evomerge.space import Genome
from evomerge.spec import StrategySpec
from evomerge.strategy.base import Strategy
from evomerge.strategy.cells import Cells
from evomerge.strategy.choice import choose

if TYPE_CHECKING:
    from evomerge.strategy.cma_es import CMADistribution
    from evomerge.strategy.generational import Distribution

_BLIND = ("random", "grid")
"""Strategies that never look at a loss, and so take any number of them."""


@dataclass(frozen=True)
class _Task:
    """Everything that a strategy is made of."""

    spec: StrategySpec
    start: Genome
    cells: Cells
    objectives: int
    budget: int
    workers: int

    @property
    def size(self) -> int | None:
        """The population that the file asks for; None: the strategy's own."""
        return None if self.spec.population_size == "auto" else self.spec.population_size

    @property
    def evolving_size(self) -> int | None:
        """A population that suits evolution strategies: with many workers more results come late, and
        a larger one averages over more of them."""
        usual = 4 + int(3 * np.log(len(self.start)))
        if self.size is None and self.workers // 4 > usual:
            return self.workers // 4
        return self.size

    def seed(self, salt: int) -> int:
        """A seed of 32 bits, other for each kind of strategy."""
        return int(np.random.default_rng([self.spec.seed, salt]).integers(2**32))


def make_strategy(
    spec: StrategySpec,
    start: Genome,
    cells: Sequence[int] = (),
    *,
    ordered: Sequence[bool] = (),
    objectives: int = 1,
    budget: int = 200,
    workers: int = 1,
) -> Strategy:
    """The strategy that `spec` names, started at `start` in [0, 1]^D.

    Args:
        cells: `SearchSpace.cells`, into how many values each gene is cut; 0 (and nothing given): a
            continuum.
        ordered: whether the values of each cut gene lie in an order (integers) or are mere names
            (choices); nothing given: in an order.
        objectives: how many losses each observation has.
        budget: candidates in the whole search.
        workers: how many candidates are scored at the same time.

    Raises SpecError where the strategy cannot do what is asked.
    """
    genes = Cells(cells if len(cells) else [0] * len(start), ordered)
    name, _ = choose(spec, len(start), genes.counts.tolist(), objectives, budget)
    if objectives > 1 and name != "nsga2" and name not in _BLIND:
        raise SpecError(
            f"{name} knows one objective, and this search has {objectives}",
            where="strategy: name",
            remedy="write `name: auto` or `name: nsga2`, or set the objective's goal to `mean`",
        )
    if name not in _MAKERS:
        raise SpecError(
            f"{name} is no strategy that asks for candidates",
            where="strategy: name",
            remedy=f"one of {', '.join(_MAKERS)}",
        )
    return _MAKERS[name](_Task(spec, start, genes, objectives, budget, workers))


def _make_cma(task: _Task, *, diagonal: bool = False) -> Strategy:
    from evomerge.strategy.generational import GenerationalStrategy

    return GenerationalStrategy(lambda mean: _cma(task, mean, diagonal=diagonal), task.start)


def _cma(task: _Task, mean: Genome, *, diagonal: bool = False) -> "CMADistribution":
    from evomerge.strategy.cma_es import CMADistribution

    return CMADistribution(
        mean,
        task.cells,
        sigma0=task.spec.sigma0,
        generator=np.random.default_rng([task.spec.seed, 0xE70]),
        population_size=task.evolving_size,
        diagonal=diagonal,
    )


def _make_lra_cma(task: _Task) -> Strategy:
    from evomerge.strategy.lra_cma import LRADistribution

    return _make_seeded(task, LRADistribution, 0xE75)


def _make_catcma(task: _Task) -> Strategy:
    from evomerge.strategy.catcma import CatCMADistribution

    return _make_seeded(task, CatCMADistribution, 0xE77)


def _make_seeded(
    task: _Task, distribution: "Callable[..., Distribution[Any]]", salt: int
) -> Strategy:
    """A distribution of `cmaes`, which takes a seed of its own."""
    from evomerge.strategy.generational import GenerationalStrategy

    def make(mean: Genome) -> "Distribution[Any]":
        return distribution(
            mean,
            task.cells,
            sigma0=task.spec.sigma0,
            seed=task.seed(salt),
            population_size=task.evolving_size,
        )

    return GenerationalStrategy(make, task.start)


def _make_restarting(task: _Task, *, bipop: bool) -> Strategy:
    from evomerge.strategy.cma_es import CMADistribution
    from evomerge.strategy.restarts import RestartingStrategy, RunSettings

    def make(run: RunSettings) -> CMADistribution:
        return CMADistribution(
            run.start,
            task.cells,
            sigma0=run.sigma0,
            generator=np.random.default_rng([task.spec.seed, 0xE73, run.number]),
            population_size=run.population_size,
        )

    return RestartingStrategy(
        make,
        task.start,
        sigma0=task.spec.sigma0,
        seed=task.spec.seed,
        population_size=task.evolving_size,
        bipop=bipop,
    )


def _make_gp(task: _Task) -> Strategy:
    from evomerge.strategy.gp import GaussianProcessStrategy

    return GaussianProcessStrategy(
        task.start,
        task.cells,
        sigma0=task.spec.sigma0,
        seed=task.spec.seed,
        budget=task.budget,
        population_size=task.size or task.workers,
    )


def _make_nsga2(task: _Task) -> Strategy:
    from evomerge.strategy.nsga2 import NSGA2Strategy

    return NSGA2Strategy(
        task.start,
        task.cells,
        sigma0=task.spec.sigma0,
        seed=task.spec.seed,
        objectives=task.objectives,
        population_size=task.size,
    )


def _make_random(task: _Task) -> Strategy:
    from evomerge.strategy.random_search import RandomStrategy

    size = task.size or max(8, task.workers)
    return RandomStrategy(task.start, task.cells, seed=task.spec.seed, population_size=size)


def _make_grid(task: _Task) -> Strategy:
    from evomerge.strategy.grid import GridStrategy

    size = task.size or max(8, task.workers)
    seed, budget = task.spec.seed, task.budget
    return GridStrategy(task.start, task.cells, seed=seed, budget=budget, population_size=size)


_MAKERS: dict[str, Callable[[_Task], Strategy]] = {
    "cma": _make_cma,
    "sep-cma": lambda task: _make_cma(task, diagonal=True),
    "lra-cma": _make_lra_cma,
    "ipop": lambda task: _make_restarting(task, bipop=False),
    "bipop": lambda task: _make_restarting(task, bipop=True),
    "catcma": _make_catcma,
    "gp": _make_gp,
    "nsga2": _make_nsga2,
    "random": _make_random,
    "grid": _make_grid,
}
