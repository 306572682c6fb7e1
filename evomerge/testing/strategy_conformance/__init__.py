"""The tests that every strategy must pass, whoever wrote it.

A strategy subclasses `StrategyConformance` and says how one is made:

    class TestMyStrategy(StrategyConformance):
        def make(self, problem): return MyStrategy(problem.start, seed=problem.seed)
"""

from evomerge.testing.strategy_conformance.asynchrony import AsynchronyTests
from evomerge.testing.strategy_conformance.losses import LossTests
from evomerge.testing.strategy_conformance.problems import Problem
from evomerge.testing.strategy_conformance.repetition import RepetitionTests
from evomerge.testing.strategy_conformance.space import SpaceTests

__all__ = ["Problem", "StrategyConformance"]


class StrategyConformance(RepetitionTests, SpaceTests, LossTests, AsynchronyTests):
    """All of them."""
