"""The bounds, against every order in which a small population can be drawn."""

import math
from itertools import permutations, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.racing.confidence import log_wealth, log_wealths, lower_bound, upper_bound
from evomerge.racing.draws import make_draws, make_field

VALUES = st.sampled_from([0.0, 0.0, 0.25, 1.0, 1.0])
TASK = st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=4)
ERROR = 0.3


def orders(tasks):
    """Every order of every task's (answer, rival's answer) pairs."""
    return product(*(permutations(task) for task in tasks))


def draws_of(order, weights, rounds=None):
    names = [str(number) for number in range(len(order))]
    field = make_field(
        dict(zip(names, weights, strict=True)),
        {n: [its for _, its in task] for n, task in zip(names, order, strict=True)},
    )
    answers = np.zeros((field.rounds, len(order)))
    for column, task in enumerate(order):
        answers[: len(task), column] = [mine for mine, _ in task]
    return make_draws(field, answers[:rounds])


def lead(tasks, weights):
    return sum(
        weight * np.mean([mine - its for mine, its in task])
        for task, weight in zip(tasks, weights, strict=True)
    )


@given(st.tuples(TASK, TASK), st.sampled_from([(0.5, 0.5), (1.0, 0.2), (0.3, 3.0)]))
@settings(max_examples=40, deadline=None)
def test_rounds_are_unbiased_given_all_before_whatever_the_tasks_sizes_and_weights(tasks, weights):
    """Over all orders with the same beginning, the next estimate is the truth on average."""
    truth = lead(tasks, weights)
    found: dict[object, list[float]] = {}
    for order in orders(tasks):
        for number, estimate in enumerate(draws_of(order, weights).estimates_R):
            past = tuple(task[:number] for task in order)
            found.setdefault((number, past), []).append(float(estimate))
    for estimates in found.values():
        assert np.mean(estimates) == pytest.approx(truth, abs=1e-9)


@given(st.tuples(TASK, TASK), st.sampled_from([(0.5, 0.5), (1.0, 0.2)]))
@settings(max_examples=40, deadline=None)
def test_no_round_comes_out_beyond_its_floor_or_ceiling(tasks, weights):
    for order in orders(tasks):
        draws = draws_of(order, weights)
        assert (draws.estimates_R <= draws.ceilings_R + 1e-9).all()
        assert (draws.estimates_R >= draws.floors_R - 1e-9).all()


@given(st.tuples(TASK, TASK), st.sampled_from([(0.5, 0.5), (1.0, 0.2)]))
@settings(max_examples=60, deadline=None)
def test_wealth_does_not_grow_on_average_where_the_hypothesis_holds(tasks, weights):
    truth = lead(tasks, weights)
    wealth = [np.exp(log_wealths(draws_of(o, weights), truth, ERROR)) for o in orders(tasks)]
    assert np.mean(wealth, axis=0) == pytest.approx(1.0, abs=1e-9)
    below = [np.exp(log_wealths(draws_of(o, weights), truth - 0.1, ERROR)) for o in orders(tasks)]
    assert (np.mean(below, axis=0) <= 1 + 1e-9).all()


@given(st.tuples(TASK, TASK), st.sampled_from([(0.5, 0.5), (1.0, 0.2)]))
@settings(max_examples=12, deadline=None)
def test_over_all_orders_and_all_looks_a_bound_is_passed_as_rarely_as_stated(tasks, weights):
    truth = lead(tasks, weights)
    over, under, count = 0, 0, 0
    for order in orders(tasks):
        rounds = range(1, max(map(len, order)) + 1)
        looks = [draws_of(order, weights, number) for number in rounds]
        over += any(upper_bound(draws, ERROR) < truth - 1e-9 for draws in looks)
        under += any(lower_bound(draws, ERROR) > truth + 1e-9 for draws in looks)
        count += 1
    assert over <= ERROR * count
    assert under <= ERROR * count


def test_the_last_round_leaves_no_doubt():
    draws = draws_of([[(1.0, 0.0), (0.0, 0.0), (0.0, 1.0), (0.0, 1.0)]], [1.0])
    assert lower_bound(draws, 0.05) == pytest.approx(-0.25, abs=1e-9)
    assert upper_bound(draws, 0.05) == pytest.approx(-0.25, abs=1e-9)
    assert log_wealth(draws, 0.0, 0.05) == math.inf


def test_bounds_close_in_as_rounds_go_by_and_wider_errors_make_them_narrower():
    rng = np.random.default_rng(0)
    task = [(float(rng.random() < 0.4), float(rng.random() < 0.6)) for _ in range(400)]
    early, late = draws_of([task], [1.0], 60), draws_of([task], [1.0], 200)

    def width(draws, error):
        return upper_bound(draws, error) - lower_bound(draws, error)

    assert width(late, 0.05) < width(early, 0.05)
    assert width(late, 0.2) < width(late, 0.05)
    assert lower_bound(late, 0.05) < lead([task], [1.0]) < upper_bound(late, 0.05)


def test_no_rounds_say_nothing():
    draws = draws_of([[(1.0, 0.0), (0.0, 1.0)]], [1.0], 0)
    assert (lower_bound(draws, 0.05), upper_bound(draws, 0.05)) == (-0.5, 0.5)
