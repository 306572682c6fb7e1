"""Every strategy that a search file may name, against the suite that all must pass."""

from evomerge.spec import SOUP, StrategySpec
from evomerge.strategy import Strategy, make_strategy
from evomerge.testing.strategy_conformance import Problem, StrategyConformance


class Named(StrategyConformance):
    """A strategy made as the controller makes it."""

    name: str
    budget: int | None = None

    def make(self, problem: Problem) -> Strategy:
        size = problem.population_size or "auto"
        spec = StrategySpec(
            name=self.name, seed=problem.seed, sigma0=problem.sigma0, population_size=size
        )
        return make_strategy(
            spec,
            problem.start,
            problem.cells,
            ordered=problem.ordered,
            objectives=self.objectives,
            budget=self.budget or problem.budget,
            workers=problem.workers,
        )


class TestAuto(Named):
    """Of a long search: short ones are the Gaussian process's, which is tested below."""

    name = "auto"
    budget = 5000


class TestCMA(Named):
    name = "cma"


class TestSepCMA(Named):
    name = "sep-cma"


class TestLRACMA(Named):
    name = "lra-cma"


class TestIPOP(Named):
    name = "ipop"


class TestBIPOP(Named):
    name = "bipop"


class TestCatCMA(Named):
    name = "catcma"


class TestGaussianProcess(Named):
    name = "gp"


class TestNSGA2(Named):
    name = "nsga2"
    objectives = 3


class TestRandom(Named):
    name = "random"


class TestGrid(Named):
    name = "grid"


def test_every_strategy_of_the_search_file_is_tested() -> None:
    named = set(StrategySpec.model_fields["name"].annotation.__args__)
    assert {one.name for one in Named.__subclasses__()} == named - {SOUP}
