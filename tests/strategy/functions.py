"""Losses with a known optimum, and searches of them."""

from collections.abc import Callable

import numpy as np

from evomerge.space import Genome
from evomerge.spec import StrategySpec
from evomerge.strategy import Observation, Strategy, make_strategy

Function = Callable[[Genome], float]


def made(name: str, dimension: int, **settings: object) -> Strategy:
    """A strategy of `StrategySpec`'s settings and `make_strategy`'s, from the middle of the box."""
    fields = {
        key: settings.pop(key) for key in settings.keys() & {"seed", "sigma0", "population_size"}
    }
    start = np.asarray(settings.pop("start", np.full(dimension, 0.5)))
    return make_strategy(StrategySpec(name=name, **fields), start, **settings)


def minimise(
    strategy: Strategy, function: Function, count: int, noise: float = 0.0, seed: int = 0
) -> list[float]:
    """Ask and tell; the true value of every genome asked for."""
    generator = np.random.default_rng([seed, 0xF])
    values = []
    for _ in range(count):
        genome = strategy.ask()
        values.append(function(genome))
        loss = values[-1] + noise * generator.standard_normal()
        strategy.tell(genome, Observation((loss,), (noise,)))
    return values


def sphere(genome: Genome) -> float:
    return float(((genome - 0.7) ** 2).sum())


def bowl(dimension: int, seed: int) -> Function:
    """A rotated quadratic with its optimum 0 away from the middle of the box, where it is 1."""
    generator = np.random.default_rng([seed, 0xB])
    rotation = np.linalg.qr(generator.standard_normal((dimension, dimension)))[0]
    curvature = rotation @ np.diag(3.0 ** generator.uniform(-1, 1, dimension)) @ rotation.T
    side = generator.choice([-1, 1], dimension)
    optimum = 0.5 + 0.2 * side * generator.uniform(0.5, 1.5, dimension)
    unit = (0.5 - optimum) @ curvature @ (0.5 - optimum)
    return lambda genome: float((genome - optimum) @ curvature @ (genome - optimum) / unit)


def rastrigin(genome: Genome) -> float:
    """Optima on a lattice, the lowest of them, 0, at 0.7."""
    x = 5 * (genome - 0.7)
    return float((x**2 - 2 * np.cos(2 * np.pi * x) + 2).sum())
