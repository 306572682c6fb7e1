"""NSGA-II: dominance by the book, fronts better than chance, constraints first."""

import numpy as np
import pytest

from evomerge.errors import SpecError
from evomerge.space import Genome
from evomerge.strategy import Observation, Strategy
from evomerge.strategy.nsga2.ranking import crowding, rank
from tests.strategy.functions import made


def two_spheres(genome: Genome) -> tuple[float, float]:
    return float(((genome - 0.2) ** 2).sum()), float(((genome - 0.8) ** 2).sum())


def area(losses: list[tuple[float, float]], reference: float = 2.0) -> float:
    """The area that the front dominates, up to the reference."""
    total, lowest = 0.0, reference
    for first, second in sorted(losses):
        if second < lowest and first < reference:
            total += (reference - first) * (lowest - second)
            lowest = second
    return total


def searched(strategy: Strategy, count: int) -> list[tuple[float, float]]:
    found = []
    for _ in range(count):
        genome = strategy.ask()
        found.append(two_spheres(genome))
        strategy.tell(genome, Observation(found[-1]))
    return found


def dominates(one: tuple[np.ndarray, float], other: tuple[np.ndarray, float]) -> bool:
    """Constraint domination, as its definition says it."""
    (losses, violation), (others, other_violation) = one, other
    if violation or other_violation:
        return bool(violation < other_violation)
    return bool((losses <= others).all() and (losses < others).any())


def test_fronts_are_those_of_the_definition() -> None:
    generator = np.random.default_rng(0)
    for _ in range(30):
        losses_NM = generator.integers(0, 5, size=(25, 3)).astype(float)
        violations_N = np.maximum(generator.integers(-4, 3, size=25), 0).astype(float)
        left = list(range(25))
        everyone = [(losses_NM[i], violations_N[i]) for i in range(25)]
        fronts = rank(losses_NM, violations_N)
        front = 0
        while left:
            first = [i for i in left if not any(dominates(everyone[j], everyone[i]) for j in left)]
            assert set(np.flatnonzero(fronts == front)) == set(first)
            left = [i for i in left if i not in first]
            front += 1


def test_the_ends_of_a_front_are_infinitely_lonely_and_a_pair_is_crowded() -> None:
    losses_NM = np.array([[0.0, 4.0], [1.0, 3.0], [1.1, 2.9], [4.0, 0.0]])
    alone = crowding(losses_NM, np.zeros(4, dtype=np.int64))
    assert np.isinf(alone[[0, 3]]).all()
    assert alone[1] == pytest.approx((1.1 - 0) / 4 + (4 - 2.9) / 4)
    assert alone[2] == pytest.approx((4 - 1) / 4 + (3 - 0) / 4)


def test_the_front_is_wider_than_that_of_random_search() -> None:
    def reached(name: str, seed: int) -> float:
        return area(searched(made(name, 6, seed=seed, objectives=2), 300))

    ours, chance = (
        np.median([reached(name, seed) for seed in range(3)]) for name in ("nsga2", "random")
    )
    ideal = area([two_spheres(np.full(6, at)) for at in np.linspace(0.2, 0.8, 200)])
    assert ours > 0.9 * ideal
    assert ours > chance


def test_parents_keep_to_the_constraint() -> None:
    strategy = made("nsga2", 4, objectives=2)
    for _ in range(300):
        genome = strategy.ask()
        violation = max(0.0, float(genome[0]) - 0.4)
        strategy.tell(genome, Observation(two_spheres(genome), violation=violation))
    late = np.array([strategy.ask() for _ in range(50)])
    assert np.mean(late[:, 0] <= 0.42) > 0.8


def test_strategies_of_one_objective_refuse_several_and_name_the_one_that_does_not() -> None:
    for name in ("cma", "sep-cma", "lra-cma", "ipop", "bipop", "catcma", "gp"):
        with pytest.raises(SpecError, match="knows one objective") as refused:
            made(name, 4, objectives=2)
        assert "nsga2" in str(refused.value)
