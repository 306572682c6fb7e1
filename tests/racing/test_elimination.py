"""Finalists on shared documents: who is surely not the best is out, and the best one stays."""

from itertools import pairwise

import numpy as np

from evomerge.racing import Layout, eliminate
from tests.racing.worlds import answer, looks, outcomes

SIZES = {"a": 150, "b": 90}
DOCUMENTS = {task: tuple(range(100, 100 + size)) for task, size in SIZES.items()}
METRICS = {"a": "acc", "b": "acc"}
FACTORS = {"a": 0.5, "b": 0.5}


def out_of(found, error=0.05, seed=0):
    return eliminate(found, DOCUMENTS, METRICS, FACTORS, error=error, seed=seed)


def finalists(seed, shares):
    """By name; `shares` say how much each one gets right."""
    rng = np.random.default_rng(seed)
    first = answer(rng, SIZES, max(shares.values()))
    return {
        name: outcomes(answer(rng, SIZES, share, like=first, kinship=0.6))
        for name, share in shares.items()
    }


def blockwise(found, seed=0, error=0.05):
    """Who is out after each block, those who are out answering no more."""
    parts = {name: list(looks(whole, Layout(8, seed))) for name, whole in found.items()}
    shown = {name: part[0] for name, part in parts.items()}
    for number in range(len(next(iter(parts.values())))):
        out = out_of(shown, error, seed)
        yield out
        shown |= {name: part[number] for name, part in parts.items() if name not in out}


def test_with_everything_answered_only_the_best_are_left():
    found = finalists(0, {"best": 0.9, "good": 0.7, "poor": 0.3})
    out = out_of(found)
    assert set(out) == {"good", "poor"}
    assert set(out.values()) == {"best"}


def test_equals_stay_together():
    found = finalists(1, {"one": 0.6})
    assert out_of({"one": found["one"], "two": found["one"]}) == {}


def test_the_poor_ones_leave_first_and_nobody_returns():
    found = finalists(2, {"best": 0.9, "good": 0.6, "poor": 0.1})
    history = list(blockwise(found))
    left = {name: next(n for n, out in enumerate(history) if name in out) for name in history[-1]}
    assert left["poor"] < left["good"]
    for earlier, later in pairwise(history):
        assert set(earlier) <= set(later)
    assert "best" not in history[-1]


def test_the_best_of_five_is_lost_no_more_often_than_stated():
    """40 shuffles of five that are nearly equal, at an error of 0.2; 17 would be 1 in 1000."""
    found = finalists(3, {"best": 0.70, "b": 0.69, "c": 0.69, "d": 0.68, "e": 0.66})
    fitness = {
        name: np.mean([one.values["acc"].mean() for one in whole]) for name, whole in found.items()
    }
    best = max(fitness, key=fitness.__getitem__)
    lost = sum(any(best in out for out in blockwise(found, s, 0.2)) for s in range(40))
    assert lost <= 16


def test_one_whose_values_cannot_be_compared_stays_and_removes_nobody():
    found = finalists(4, {"best": 0.9, "poor": 0.1})
    broken = outcomes({task: np.full(size, np.nan) for task, size in SIZES.items()})
    assert set(out_of(found | {"broken": broken})) == {"poor"}


def test_a_finalist_alone_stays():
    assert out_of(finalists(5, {"one": 0.5})) == {}
