"""Ratios, means and intervals against numbers worked out by hand."""

from itertools import product

import numpy as np
import pytest

from evomerge.study.measures import Value, by_skill, difference, mean, pooled, ratio
from evomerge.study.relations import correlation
from evomerge.study.spec import StudyTask

RNG = np.random.default_rng(7)


def value(number, spread=0.0):
    return Value(number, number + spread * RNG.standard_normal(4000))


def task(name, skill):
    return StudyTask(task=name, skill=skill)


def test_a_score_is_related_by_division():
    assert ratio(value(0.6), value(0.8)).value == pytest.approx(0.75)


def test_where_more_is_worse_the_ratio_is_turned_over():
    found = ratio(value(20.0), value(10.0), turned=True)
    assert found.value == pytest.approx(0.5)
    assert found.draws == pytest.approx(np.full(4000, 0.5))


def test_nothing_is_divided_by_zero():
    assert ratio(value(0.5), value(0.0)) is None
    assert ratio(value(0.0), value(0.5), turned=True) is None


def test_a_reference_near_zero_gives_a_wide_interval_and_no_endless_one():
    found = ratio(value(0.3, 0.05), value(0.1, 0.05))
    assert found.value == pytest.approx(3.0)
    assert np.isfinite(found.draws).all()
    assert found.draws.std() == pytest.approx(np.hypot(0.05, 3 * 0.05) / 0.1, rel=0.1)


def test_a_ratio_of_two_scores_on_the_same_documents_is_surer_than_its_parts():
    shared = 0.05 * RNG.standard_normal(4000)
    one, other = Value(0.6, 0.6 + shared), Value(0.8, 0.8 + shared)
    assert ratio(one, other).draws.std() < 0.5 * (one.draws / 0.8).std()


def test_means_are_taken_within_a_skill_before_skills():
    values = {task("a1", "a"): value(0.2), task("a2", "a"): value(0.4), task("b", "b"): value(0.9)}
    assert by_skill(values).value == pytest.approx((0.3 + 0.9) / 2)


def test_a_mean_has_no_draws_where_one_of_its_parts_has_none():
    assert mean([value(1.0), Value(0.0, None)]).draws is None


def test_one_subset_has_the_interval_of_its_documents():
    found = pooled([value(0.5, 0.1)])
    assert found.value == 0.5
    assert found.low == pytest.approx(0.5 - 1.96 * 0.1, abs=0.015)


def test_several_subsets_widen_the_interval_by_how_much_they_differ():
    values = [value(0.3), value(0.5), value(0.7)]
    found = pooled(values)
    expected = np.std([0.3, 0.5, 0.7], ddof=1) / np.sqrt(3)  # the standard error of their mean
    assert found.value == pytest.approx(0.5)
    draws = (found.high - found.low) / 2 / 1.96
    assert draws == pytest.approx(expected, rel=0.25)


def test_equal_subsets_widen_nothing():
    found = pooled([value(0.5), value(0.5)])
    assert (found.low, found.high) == (0.5, 0.5)


def units(*sizes):
    """All combinations of so many trainings, subsets, ..."""
    return list(product(*map(range, sizes)))


def test_trainings_and_subsets_each_widen_the_interval_by_how_much_they_differ():
    trainings, subsets = RNG.normal(0, 0.1, 12), RNG.normal(0, 0.2, 9)
    values = [value(0.5 + trainings[t] + subsets[s]) for t, s in units(12, 9)]
    found = pooled(values, units(12, 9))
    expected = np.hypot(trainings.std(ddof=1) / np.sqrt(12), subsets.std(ddof=1) / np.sqrt(9))
    assert (found.high - found.low) / 2 / 1.96 == pytest.approx(expected, rel=0.1)


def test_seeds_that_share_a_training_do_not_make_it_surer():
    alone = [value(0.3), value(0.5), value(0.7)]
    repeated = [one for one in alone for _ in range(5)]
    narrow, wide = pooled(repeated), pooled(repeated, units(3, 5))
    once = pooled(alone, units(3, 1))
    assert (wide.low, wide.high) == pytest.approx((once.low, once.high))
    assert narrow.high - narrow.low < 0.6 * (wide.high - wide.low)


def test_three_trainings_cover_the_truth_less_often_than_many_do():
    """docs/studies.md warns of it: 95 % intervals of three trainings hold for some three in four."""
    shares = {}
    for count in (3, 20):
        samples = np.random.default_rng(count).standard_normal((300, count))
        intervals = [pooled([value(x) for x in one], units(count)) for one in samples]
        shares[count] = np.mean([found.low <= 0 <= found.high for found in intervals])
    assert 0.7 < shares[3] < 0.85
    assert shares[20] > 0.9


def test_a_difference_is_taken_draw_by_draw():
    shared = RNG.standard_normal(4000)
    found = difference(Value(1.0, 1.0 + shared), Value(0.4, 0.4 + shared))
    assert found.draws == pytest.approx(np.full(4000, 0.6))


def test_a_correlation_is_pearsons():
    ones, others = [0.1, 0.4, 0.5, 0.9], [0.3, 0.1, 0.6, 0.7]
    found = correlation([value(x) for x in ones], [value(x) for x in others])
    assert found.value == pytest.approx(np.corrcoef(ones, others)[0, 1])
    assert found.low == pytest.approx(found.value)


def test_a_measure_that_does_not_vary_correlates_with_nothing():
    found = correlation([value(0.5)] * 4, [value(x) for x in (0.1, 0.2, 0.3, 0.4)])
    assert np.isnan(found.value)
