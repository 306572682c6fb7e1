"""What the strategy is told of a candidate that was dropped: an unbiased guess, and how sure it is."""

import numpy as np
import pytest

from evomerge.racing import Race, estimate_fitness
from tests.racing.worlds import answer, first, fitness, looks, outcomes, plan

SIZES = {"a": 200, "b": 120, "c": 40}
FACTORS = {"a": 0.5, "b": -0.25, "c": 1.5}


def guesses(rival, candidate, count, look=2, **settings):
    """After the same block of `count` shuffles: value and standard error."""
    found = []
    for seed in range(count):
        race = plan(rival, seed=seed, **settings)
        seen = list(looks(outcomes(candidate), race.layout))[look]
        found.append(estimate_fitness(race, seen))
    return np.array(found)


def test_everything_answered_is_the_fitness_itself():
    rng = np.random.default_rng(0)
    rival, candidate = answer(rng, SIZES, 0.7), answer(rng, SIZES, 0.5)
    value, stderr = estimate_fitness(plan(rival, factors=FACTORS), outcomes(candidate))
    assert value == pytest.approx(fitness(candidate, FACTORS), abs=1e-12)
    assert stderr == 0


def test_over_many_shuffles_the_guess_is_right_on_average_and_its_error_is_as_it_says():
    rng = np.random.default_rng(1)
    rival = answer(rng, SIZES, 0.7)
    candidate = answer(rng, SIZES, 0.6, like=rival)
    values, stderrs = guesses(rival, candidate, 300, factors=FACTORS).T
    truth = fitness(candidate, FACTORS)
    assert abs(values.mean() - truth) < 4 * values.std() / np.sqrt(300)
    assert np.sqrt((stderrs**2).mean()) == pytest.approx(values.std(), rel=0.2)


def test_the_rivals_answers_make_the_guess_better_than_a_plain_mean():
    rng = np.random.default_rng(2)
    rival = answer(rng, SIZES, 0.7)
    candidate = answer(rng, SIZES, 0.7, like=rival, kinship=0.8)
    values = guesses(rival, candidate, 100).T[0]
    plain = []
    for seed in range(100):
        seen = list(looks(outcomes(candidate), plan(rival, seed=seed).layout))[2]
        plain.append(np.mean([one.values["acc"].mean() for one in seen]))
    assert values.std() < 0.75 * np.std(plain)


def test_the_guess_is_the_verdicts_lead_over_the_rival():
    rng = np.random.default_rng(3)
    rival, candidate = answer(rng, SIZES, 0.7), answer(rng, SIZES, 0.5)
    race = plan(rival)
    for seen in looks(outcomes(candidate), race.layout):
        value, stderr = estimate_fitness(race, seen)
        assert value == pytest.approx(fitness(rival) + Race(race).judge(seen).lead)
        assert stderr > 0


def test_one_round_is_enough_for_a_guess_and_none_is_refused():
    race = plan({"a": np.ones(30)})
    one = next(looks(outcomes({"a": np.zeros(30)}), plan({"a": np.ones(30)}, blocks=30).layout))
    value, stderr = estimate_fitness(race, one)
    assert 0 <= value < 1
    assert stderr > 0
    with pytest.raises(ValueError, match="cannot be compared"):
        estimate_fitness(race, first(one, {}))
    with pytest.raises(ValueError, match="cannot be compared"):
        estimate_fitness(race, outcomes({"a": np.full(30, np.nan)}))
