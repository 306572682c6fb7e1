"""What the tests ask strategies to solve, and how they walk through a search."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from evomerge.space import Genome
from evomerge.strategy import Observation, Strategy

DIMENSIONS = (1, 2, 7, 43)
MIXED = (0, 2, 5, 0, 3, 0, 4)
"""A space with numbers, a switch, and whole numbers or names."""
ORDERED = (True, True, True, True, False, True, False)

Told = list[tuple[Genome, Observation]]
Loss = Callable[[Genome], Observation]


@dataclass(frozen=True)
class Problem:
    """The arguments that a strategy is made with."""

    dimension: int = 5
    seed: int = 0
    sigma0: float = 0.25
    at: float = 0.4
    cells: tuple[int, ...] = ()
    ordered: tuple[bool, ...] = ()
    population_size: int | None = None
    budget: int = 200
    workers: int = 1

    @property
    def start(self) -> Genome:
        return np.full(self.dimension, self.at)


class Maker:
    """What all groups of tests need from the strategy under test."""

    objectives = 1

    def make(self, problem: Problem) -> Strategy:
        """A new strategy for the problem."""
        raise NotImplementedError("give the subclass a method `make`")

    def observe(self, *losses: float) -> Observation:
        """An observation with as many losses as the strategy wants."""
        return Observation(tuple(losses[: self.objectives]) + losses[:1] * (self.objectives - 1))

    def plateaus(self, genome: Genome) -> Observation:
        """Ties, failures and missed constraints, as real losses have."""
        if genome[0] > 0.9:
            return Observation(None)
        loss = round(float(((genome - 0.7) ** 2).sum()), 1)
        told = self.observe(loss)
        return Observation(told.losses, (0.1,) * self.objectives, max(0.0, 0.1 - float(genome[-1])))


def walk(strategy: Strategy, count: int, loss: Loss) -> Told:
    """Ask and tell one by one; what was asked and told."""
    told = []
    for _ in range(count):
        genome = strategy.ask()
        told.append((genome.copy(), loss(genome)))
        strategy.tell(*told[-1])
    return told


def walk_in_parallel(
    strategy: Strategy, count: int, loss: Loss, workers: int, seed: int = 0
) -> Told:
    """Ask as `workers` do that each finish when they like; what was told, in told order."""
    generator = np.random.default_rng([seed, 0xA5])
    told: Told = []
    running: list[Genome] = []
    while len(told) < count:
        while len(running) < workers:
            running.append(strategy.ask())
        genome = running.pop(int(generator.integers(workers)))
        told.append((genome.copy(), loss(genome)))
        strategy.tell(*told[-1])
    return told


def genomes_of(told: Told) -> list[Genome]:
    return [genome for genome, _ in told]


def same(left: Sequence[Genome], right: Sequence[Genome]) -> bool:
    """Whether two lists of genomes are equal to the last bit."""
    return [one.tobytes() for one in left] == [one.tobytes() for one in right]


def in_box(genome: Genome) -> bool:
    """Whether every gene is a number from 0 to 1."""
    return bool(((genome >= 0) & (genome <= 1)).all())
