"""Ask/tell optimisers over [0, 1]^D: pure, seeded, rebuilt by telling them their history again."""

from evomerge.strategy.base import Strategy
from evomerge.strategy.cma_es import CMAStrategy
from evomerge.strategy.random_search import RandomStrategy

__all__ = ["CMAStrategy", "RandomStrategy", "Strategy", "make_strategy"]

from evomerge.space import Genome
from evomerge.spec import StrategySpec


def make_strategy(spec: StrategySpec, start: Genome) -> Strategy:
    """The strategy that `spec` names, started at `start` in [0, 1]^D."""
    size = None if spec.population_size == "auto" else spec.population_size
    if spec.name == "random":
        return RandomStrategy(start, seed=spec.seed, population_size=size)
    return CMAStrategy(start, sigma0=spec.sigma0, seed=spec.seed, population_size=size)
