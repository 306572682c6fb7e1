"""Bayesian optimisation with a Gaussian process, for small budgets."""

from evomerge.strategy.gp.strategy import GaussianProcessStrategy

__all__ = ["GaussianProcessStrategy"]
