"""NSGA-II, for several objectives."""

from evomerge.strategy.nsga2.strategy import NSGA2Strategy

__all__ = ["NSGA2Strategy"]
