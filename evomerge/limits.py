"""`Limits`: what a user changes about a search while it runs; it overrules the file."""

from pydantic import Field

from evomerge.recipe import Frozen
from evomerge.spec import Budget, SearchSpec


class Limits(Frozen):
    """Budget and number of workers; None leaves what the file says."""

    budget: Budget | None = None
    workers: int | None = Field(None, gt=0)

    def budget_of(self, spec: SearchSpec) -> Budget:
        """The budget that holds now."""
        return self.budget or spec.budget

    def workers_of(self, spec: SearchSpec) -> int:
        """The number of workers that holds now."""
        return self.workers or spec.workers.max
