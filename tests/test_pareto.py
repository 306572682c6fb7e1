"""Fronts and hypervolumes, against what they are by definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from evomerge.pareto import hypervolume, pareto_ranks

STEPS = st.integers(0, 4).map(float)  # few values, so that points tie


@given(arrays(float, st.tuples(st.integers(1, 12), st.integers(1, 4)), elements=STEPS))
def test_the_first_front_is_what_no_point_beats(points_NM):
    beaten = [
        any((other >= point).all() and (other > point).any() for other in points_NM)
        for point in points_NM
    ]
    assert ((pareto_ranks(points_NM) > 0) == beaten).all()


def test_later_fronts_are_the_first_ones_of_what_is_left():
    points_NM = np.array([[3.0, 3.0], [2.0, 2.0], [1.0, 1.0], [0.0, 2.5]])
    assert pareto_ranks(points_NM).tolist() == [0, 1, 2, 1]


def test_points_that_miss_a_constraint_come_last_and_the_nearest_of_them_first():
    points_NM = np.array([[9.0, 9.0], [1.0, 1.0], [2.0, 2.0], [9.0, 9.0]])
    assert pareto_ranks(points_NM, np.array([0.2, 0.0, 0.0, 0.1])).tolist() == [3, 1, 0, 2]
    assert pareto_ranks(points_NM[:1], np.array([0.2])).tolist() == [0]


def test_the_hypervolume_of_two_boxes_counts_their_overlap_once():
    points_NM = np.array([[2.0, 1.0], [1.0, 3.0]])
    assert hypervolume(points_NM, np.zeros(2)) == pytest.approx(2 + 3 - 1)


def test_the_hypervolume_is_the_share_of_random_points_that_are_beaten():
    generator = np.random.default_rng(1)
    points_NM = generator.random((20, 3))
    thrown = generator.random((50_000, 3))
    beaten = (thrown[:, None] <= points_NM[None]).all(axis=2).any(axis=1)
    assert hypervolume(points_NM, np.zeros(3)) == pytest.approx(beaten.mean(), abs=0.01)


def test_points_beyond_the_reference_and_no_points_at_all_add_nothing():
    inside = np.array([[2.0, 2.0]])
    beyond = np.array([[9.0, -1.0]])
    assert hypervolume(np.vstack([inside, beyond]), np.zeros(2)) == hypervolume(inside, np.zeros(2))
    assert hypervolume(np.empty((0, 2)), np.zeros(2)) == 0.0
