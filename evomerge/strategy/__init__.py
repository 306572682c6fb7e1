"""Ask/tell optimisers over [0, 1]^D: pure, seeded, rebuilt by asking and telling them again."""

from evomerge.strategy.base import Observation, Strategy, to_losses
from evomerge.strategy.choice import choose
from evomerge.strategy.make import make_strategy

__all__ = ["Observation", "Strategy", "choose", "make_strategy", "to_losses"]
