"""Which documents a candidate still has to answer, and when it is out. numpy alone."""

from evomerge.racing.plan import RacePlan

__all__ = ["RacePlan"]
