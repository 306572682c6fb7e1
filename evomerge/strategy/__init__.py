"""Ask/tell optimisers over [0, 1]^D: pure, seeded, rebuilt by asking and telling them again."""

from collections.abc import Sequence

from evomerge.space import Genome
from evomerge.spec import StrategySpec
from evomerge.strategy.base import Observation, Strategy, to_losses
from evomerge.strategy.cma_es import CMAStrategy
from evomerge.strategy.random_search import RandomStrategy

__all__ = [
    "CMAStrategy",
    "Observation",
    "RandomStrategy",
    "Strategy",
    "make_strategy",
    "to_losses",
]


def make_strategy(spec: StrategySpec, start: Genome, cells: Sequence[int] = ()) -> Strategy:
    """The strategy that `spec` names, started at `start` in [0, 1]^D.

    Args:
        cells: `SearchSpace.cells`, into how many values each gene is cut; 0 (and nothing given): a
            continuum.
    """
    size = None if spec.population_size == "auto" else spec.population_size
    if spec.name == "random":
        return RandomStrategy(start, seed=spec.seed, population_size=size)
    return CMAStrategy(start, sigma0=spec.sigma0, seed=spec.seed, population_size=size)
