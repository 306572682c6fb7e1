"""The contract of a strategy.

A strategy is a pure function of its arguments and of the order in which it was asked and told: nothing
else may change what it asks next. So a search is resumed by asking and telling a new strategy in the
stored order; no state is ever pickled.

There is no generation in the contract. A strategy may be asked any number of times before it is told
anything, and is told results in any order, one by one: a synchronous search asks for
`population_size` genomes and tells all of them before it asks again, an asynchronous one asks
whenever a worker is free. What a strategy does with results that come late is its own affair.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from evomerge.space import Genome


@dataclass(frozen=True)
class Observation:
    """What came of a genome.

    losses: one for each objective, smaller is better; None where the candidate failed.
    stderr: the standard error of each loss, 0 where unknown; larger for candidates that were dropped
        early and so answered few documents. Only differences count: candidates that answer the same
        documents share most of their error.
    violation: how far constraints are missed; 0 where all hold.
    """

    losses: tuple[float, ...] | None
    stderr: tuple[float, ...] = ()
    violation: float = 0.0

    def __post_init__(self) -> None:
        """Raises ValueError on NaN and infinity, which optimisers swallow and are ruined by."""
        if not all(map(math.isfinite, (*(self.losses or ()), *self.stderr, self.violation))):
            raise ValueError(f"not finite: {self}; a failed candidate has losses=None")


class Strategy(Protocol):
    """Minimises losses over [0, 1]^D."""

    @property
    def population_size(self) -> int:
        """Genomes that a synchronous search asks for at once."""
        ...

    @property
    def parents(self) -> int:
        """How many of the last `population_size` told genomes, best first, move the strategy: what
        is clearly worse than these need not be known exactly. 1 where only the best one counts."""
        ...

    def ask(self) -> Genome:
        """The next genome. Raises nothing: a strategy that has converged says so in `stop_reason`."""
        ...

    def tell(self, genome: Genome, observation: Observation) -> None:
        """What came of a genome, asked for or not; each asked one is told once."""
        ...

    def recommend(self) -> Genome | None:
        """The genome it believes in most without having seen it (CMA-ES: the mean), or None."""
        ...

    @property
    def stop_reason(self) -> str | None:
        """Why more candidates would not help (converged, or all tried), or None."""
        ...


def counts(observation: Observation) -> bool:
    """Whether it is the loss of a genome that neither failed nor misses a constraint."""
    return observation.losses is not None and observation.violation == 0


def to_losses(observations: Sequence[Observation]) -> list[float]:
    """One finite number for each observation, ranked as constraints and failures demand.

    Feasible ones keep their (first) loss; infeasible ones lie behind the worst of those, by their
    violation; failures behind everything.
    """
    feasible = [o.losses[0] for o in observations if o.losses is not None and o.violation == 0]
    edge = max(feasible, default=0.0)
    violations = [o.violation for o in observations if o.losses is not None]
    worst = edge + max(violations, default=0.0) + 1.0

    def loss(one: Observation) -> float:
        if one.losses is None:
            return worst
        return one.losses[0] if one.violation == 0 else edge + one.violation

    return [loss(one) for one in observations]
