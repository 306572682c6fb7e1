"""What `strategy: auto` stands for; docs/strategies.md says how well each bound was measured."""

from collections.abc import Sequence

from evomerge.spec import StrategySpec

MODEL_BUDGET = 400
"""Up to so many candidates a model of everything that was told beats an evolution strategy."""
SEPARABLE_FROM = 96
"""From so many genes on, a full covariance matrix takes more candidates than a search has."""


def choose(
    spec: StrategySpec, dimension: int, cells: Sequence[int], objectives: int, budget: int
) -> tuple[str, str]:
    """The name of a strategy, and in one sentence why it is that one.

    Args:
        cells: `SearchSpace.cells`. objectives: losses of each candidate. budget: candidates.

    A name other than `auto` is kept.
    """
    if spec.name != "auto":
        return spec.name, "the search file names it"
    if objectives > 1:
        return "nsga2", f"there are {objectives} objectives to trade off"
    if budget <= MODEL_BUDGET:
        return "gp", (
            f"{budget} candidates for {_genes(dimension)} are few: a model of all results so far spends "
            "them best"
        )
    if any(cells):
        cut = sum(count > 0 for count in cells)
        return (
            "catcma",
            f"{budget} candidates, and {cut} of {_genes(dimension)} take a few values only",
        )
    if dimension >= SEPARABLE_FROM:
        return (
            "sep-cma",
            f"{budget} candidates do not suffice to learn how {_genes(dimension)} interact",
        )
    return "cma", f"{budget} candidates suffice to learn how {_genes(dimension)} interact"


def _genes(dimension: int) -> str:
    return "1 parameter" if dimension == 1 else f"{dimension} parameters"
