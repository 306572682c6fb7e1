"""Who is dropped: whoever is behind for certain enough, and nobody whose answers cannot be compared."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.racing import Race, RacePlan
from tests.racing.worlds import answer, first, fitness, looks, outcomes, plan

SIZES = {"a": 300, "b": 200, "c": 60}


def was_dropped(candidate, race):
    judge = Race(race)
    return any(judge.is_out(seen) for seen in looks(outcomes(candidate), race.layout))


def blocks_needed(candidate, race):
    judge = Race(race)
    found = [judge.is_out(seen) for seen in looks(outcomes(candidate), race.layout)]
    return found.index(True) + 1 if True in found else len(found) + 1


def test_one_that_knows_nothing_is_out_after_the_first_blocks():
    rng = np.random.default_rng(1)
    rival = answer(rng, SIZES, 0.8)
    assert blocks_needed(answer(rng, SIZES, 0.2), plan(rival)) <= 2


def test_one_that_is_far_better_is_never_out():
    rng = np.random.default_rng(2)
    rival, better = answer(rng, SIZES, 0.4), answer(rng, SIZES, 0.9)
    assert not was_dropped(better, plan(rival))


def test_the_rivals_own_answers_are_never_out():
    rival = answer(np.random.default_rng(3), SIZES, 0.6)
    assert not any(was_dropped(rival, plan(rival, seed=seed)) for seed in range(20))


def test_equal_fitness_by_other_answers_is_dropped_no_more_often_than_stated():
    """400 shuffles at an error of 0.1; more than 58 would be a chance of 1 in 1000."""
    rng = np.random.default_rng(4)
    rival = answer(rng, {"a": 60, "b": 40}, 0.6)
    equal = {task: rng.permutation(column) for task, column in rival.items()}
    dropped = sum(was_dropped(equal, plan(rival, seed=seed, error=0.1)) for seed in range(400))
    assert 0 < dropped <= 58


@given(st.integers(0, 10_000), st.floats(0.02, 0.4))
@settings(max_examples=25, deadline=None)
def test_the_verdict_agrees_with_its_interval(seed, error):
    rng = np.random.default_rng(seed)
    rival = answer(rng, {"a": 40, "b": 25}, 0.7)
    race = plan(rival, error=error, seed=seed)
    candidate = outcomes(answer(rng, {"a": 40, "b": 25}, 0.4, like=rival))
    for seen in looks(candidate, race.layout):
        verdict = Race(race).judge(seen)
        assert verdict.dropped == Race(race).is_out(seen)
        assert verdict.high <= 1e-9 if verdict.dropped else verdict.high >= -1e-9
        assert verdict.low >= -1
        assert verdict.high <= 1


def test_the_order_of_tasks_and_of_documents_changes_nothing():
    rng = np.random.default_rng(5)
    rival = answer(rng, SIZES, 0.7)
    race = plan(rival)
    candidate = outcomes(answer(rng, SIZES, 0.6, like=rival))
    for seen in looks(candidate, race.layout):
        assert Race(race).judge(seen) == Race(race).judge(tuple(reversed(seen)))


def test_a_metric_that_should_be_small_is_raced_the_other_way_round():
    rng = np.random.default_rng(6)
    right, wrong = answer(rng, {"a": 200}, 0.8), answer(rng, {"a": 200}, 0.3)
    mirrored = {"a": 1 - wrong["a"]}
    straight = plan(right)
    turned = plan({"a": 1 - right["a"]}, factors={"a": -1.0})
    judged = zip(
        looks(outcomes(wrong), straight.layout),
        looks(outcomes(mirrored), turned.layout),
        strict=True,
    )
    for one, other in judged:
        assert Race(straight).judge(one) == Race(turned).judge(other)
    assert was_dropped(mirrored, turned)


def test_what_a_task_is_worth_decides():
    rng = np.random.default_rng(7)
    rival = answer(rng, {"a": 200, "b": 200}, 0.6)
    strong_in_a = {
        "a": answer(rng, {"a": 200}, 0.9)["a"],
        "b": answer(rng, {"b": 200}, 0.2)["b"],
    }
    assert not was_dropped(strong_in_a, plan(rival, factors={"a": 0.9, "b": 0.1}))
    assert was_dropped(strong_in_a, plan(rival, factors={"a": 0.1, "b": 0.9}))


@pytest.mark.parametrize("spoilt", [np.nan, -0.5, 1.5, np.inf])
@pytest.mark.parametrize("whose", ["rival", "candidate"])
def test_values_that_are_no_shares_are_never_judged(spoilt, whose):
    rival, candidate = {"a": np.ones(100)}, {"a": np.zeros(100)}
    assert was_dropped(candidate, plan(rival))
    {"rival": rival, "candidate": candidate}[whose]["a"][:] = spoilt
    assert not was_dropped(candidate, plan(rival))


@pytest.mark.parametrize("factor", [0.0, math.nan, math.inf])
def test_tasks_that_are_worth_nothing_knowable_are_never_judged(factor):
    race = plan({"a": np.ones(100)}, factors={"a": factor})
    assert not was_dropped({"a": np.zeros(100)}, race)


def test_a_missing_task_metric_or_rival_is_never_judged():
    race = plan({"a": np.ones(50), "b": np.ones(50)})
    assert not Race(race).is_out(outcomes({"a": np.zeros(50)}))
    assert not Race(race).is_out(outcomes({"a": np.zeros(50), "b": np.zeros(50)}, metric="f1"))
    nobody = RacePlan((), race.metrics, race.factors, race.error, race.blocks, race.seed)
    assert not Race(nobody).is_out(outcomes({"a": np.zeros(50), "b": np.zeros(50)}))
    assert Race(nobody).documents == {}


def test_nothing_answered_is_not_judged():
    race = plan({"a": np.ones(50)})
    verdict = Race(race).judge(first(outcomes({"a": np.zeros(50)}), {}))
    assert not verdict.dropped
    assert math.isnan(verdict.lead)
    assert (verdict.low, verdict.high) == (-math.inf, math.inf)


def test_one_document_is_a_race_that_ends_with_it():
    race = plan({"a": [1.0]})
    assert not was_dropped({"a": [0.0]}, race)  # there is no block before the last
    assert Race(race).judge(outcomes({"a": [0.0]})).high == -1.0


def test_documents_out_of_turn_are_not_counted():
    """A round counts once every task has answered its document of it."""
    race = plan({"a": np.ones(60), "b": np.ones(60)})
    everything = outcomes({"a": np.zeros(60), "b": np.zeros(60)})
    only_a = first(everything, {"a": everything[0].doc_ids})
    assert not Race(race).is_out(only_a)
    assert Race(race).is_out(everything)


def test_small_gaps_need_more_documents_than_large_ones():
    rng = np.random.default_rng(8)
    sizes = {"a": 500, "b": 500}
    rival = answer(rng, sizes, 0.8)
    needed = [
        np.mean(
            [
                blocks_needed(
                    answer(rng, sizes, 0.8 - gap, like=rival, kinship=0), plan(rival, seed=s)
                )
                for s in range(10)
            ]
        )
        for gap in (0.05, 0.15, 0.4)
    ]
    assert needed[0] > needed[1] > needed[2]


def test_the_lead_is_known_exactly_once_everything_is_answered():
    rng = np.random.default_rng(9)
    rival, candidate = answer(rng, SIZES, 0.7), answer(rng, SIZES, 0.6)
    verdict = Race(plan(rival)).judge(outcomes(candidate))
    truth = fitness(candidate) - fitness(rival)
    assert (verdict.low, verdict.lead, verdict.high) == pytest.approx((truth, truth, truth))
