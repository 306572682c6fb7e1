"""Evolution strategies without a barrier between generations.

An evolution strategy moves its distribution by `population_size` results at a time. Here it does so as
soon as so many have come in, whichever they are, and is asked for a new genome at any time. Results of
genomes that were drawn before the last move, or that it never drew, join the next generation as
strangers: their steps are shortened to a length that the present distribution could have drawn
(Hansen 2011, Injecting External Solutions Into CMA-ES), so that no late result is lost and none can
tear the step size up.

Where should a late genome stand? Left where it was, it pulls the mean back on its way and the step
size, which sees steps to and fro, falls too early; moved along with the mean, it repeats steps that were
taken already, and the step size explodes. Half the way does neither (`docs/strategies.md`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from evomerge.space import Genome
from evomerge.strategy.base import Observation, counts, to_losses
from evomerge.strategy.pending import Pending
from evomerge.strategy.threads import one_thread

Sample = TypeVar("Sample")
_FOLLOW = 0.5


@dataclass(frozen=True)
class Draw:
    """A point of a normal distribution, and the mean it was drawn around; None: of nobody's."""

    point: Genome
    mean: Genome | None


def follow(draw: Draw, mean: Genome) -> Genome:
    """Where a late draw stands now that the distribution has moved on to `mean`."""
    return draw.point if draw.mean is None else draw.point + _FOLLOW * (mean - draw.mean)


def shorten(step_D: Genome, covariance_DD: Genome, sigma: float) -> Genome:
    """A step that N(0, sigma^2 C) could have taken: its Mahalanobis length is at most
    sqrt(D) + 2 D / (D + 2) (Hansen 2011)."""
    dimension = len(step_D)
    square = float(step_D @ np.linalg.solve(covariance_DD, step_D))
    length = max(square, 0.0) ** 0.5 / sigma
    longest = dimension**0.5 + 2 * dimension / (dimension + 2)
    return step_D if length <= longest else step_D * (longest / length)


class Distribution(Protocol[Sample]):
    """A search distribution that knows no order of asking and telling; its samples are its own affair."""

    @property
    def population_size(self) -> int:
        """How many samples move it."""
        ...

    @property
    def parents(self) -> int:
        """How many of these, the best, it moves towards."""
        ...

    def sample(self) -> Sample:
        """Draw one."""
        ...

    def genome(self, sample: Sample) -> Genome:
        """What is scored of a sample."""
        ...

    def stranger(self, genome: Genome) -> Sample:
        """The sample that any genome would be."""
        ...

    def update(
        self, samples: Sequence[Sample], losses: Sequence[float], strangers: Sequence[int]
    ) -> None:
        """Move by `population_size` samples; those at `strangers` are of no or of an older draw."""
        ...

    def mean(self) -> Genome:
        """The middle of the distribution."""
        ...

    def stop_reason(self) -> str | None:
        """Why it will not move any more, or None."""
        ...


class GenerationalStrategy(Generic[Sample]):
    """Asks and tells a distribution one by one.

    Args:
        make: the distribution that begins at a genome.
        start: where it begins when nothing was told before the first ask; else it begins at the best
            genome that was told.
    """

    def __init__(self, make: Callable[[Genome], Distribution[Sample]], start: Genome) -> None:
        self._make, self._start = make, np.array(start, dtype=np.float64)
        self._distribution = make(self._start)
        self._begun = False
        self.generation = 0
        """How often the distribution has moved."""
        self._asked: Pending[tuple[int, Sample]] = Pending()
        self._told: list[tuple[Sample, bool, Observation]] = []
        self._before: tuple[float, Genome] | None = None

    @property
    def population_size(self) -> int:
        return self._distribution.population_size

    @property
    def parents(self) -> int:
        return self._distribution.parents

    def ask(self) -> Genome:
        with one_thread():
            self._begin()
            sample = self._distribution.sample()
            genome = self._distribution.genome(sample)
        return self._asked.ask(genome, (self.generation, sample))

    def tell(self, genome: Genome, observation: Observation) -> None:
        if not self._begun:
            self._remember_best(genome, observation)
            return
        with one_thread():
            generation, sample = self._asked.tell(genome) or (None, None)
            if sample is None:
                sample = self._distribution.stranger(np.array(genome, dtype=np.float64))
            self._told.append((sample, generation != self.generation, observation))
            if len(self._told) == self.population_size:
                self._move()

    def recommend(self) -> Genome | None:
        return self._distribution.mean() if self.generation else None

    @property
    def stop_reason(self) -> str | None:
        return self._distribution.stop_reason() if self.generation else None

    def _begin(self) -> None:
        if not self._begun and self._before is not None:
            self._distribution = self._make(self._before[1])
        self._begun = True

    def _remember_best(self, genome: Genome, observation: Observation) -> None:
        if counts(observation) and (loss := to_losses([observation])[0]) < (
            self._before[0] if self._before else np.inf
        ):
            self._before = loss, np.array(genome, dtype=np.float64)

    def _move(self) -> None:
        samples, strange, observations = zip(*self._told, strict=True)
        strangers = [place for place, is_strange in enumerate(strange) if is_strange]
        self._distribution.update(samples, to_losses(observations), strangers)
        self._told = []
        self.generation += 1
