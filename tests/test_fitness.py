"""One number from many documents: weights, directions, normalisation, constraints, errors."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evomerge.errors import TaskError
from evomerge.fitness import (
    Fitness,
    Objective,
    References,
    Split,
    Splits,
    TaskObjective,
    TaskScore,
    compute_fitness,
    mean_score,
    needs_references,
)


def objective(*tasks: TaskObjective) -> Objective:
    return Objective(tasks=tasks)


def score(task: str, value: float, stderr: float | None = None, **more: object) -> TaskScore:
    return TaskScore(task, "acc", value, stderr, 100, **{"headline": True, **more})


def test_fitness_is_the_weighted_mean_of_the_headline_scores() -> None:
    wanted = objective(TaskObjective(task="a", weight=3), TaskObjective(task="b"))
    scores = [score("a", 0.4), score("b", 0.8), score("a", 0.99, headline=False)]
    assert compute_fitness(wanted, scores).value == pytest.approx(0.5)


def test_errors_of_tasks_add_up_as_independent_ones_do() -> None:
    wanted = objective(TaskObjective(task="a"), TaskObjective(task="b"))
    found = compute_fitness(wanted, [score("a", 0.5, 0.03), score("b", 0.5, 0.04)])
    assert found.stderr == pytest.approx(0.5 * math.hypot(0.03, 0.04))


def test_without_any_error_there_is_none_and_not_zero() -> None:
    assert compute_fitness(objective(TaskObjective(task="a")), [score("a", 0.5)]).stderr is None


def test_a_metric_that_should_be_small_counts_negatively() -> None:
    wanted = objective(TaskObjective(task="ppl", direction="min"))
    better, worse = (compute_fitness(wanted, [score("ppl", v)]) for v in (9.0, 11.0))
    assert better.value == -9.0
    assert better.sort_key > worse.sort_key


@pytest.mark.parametrize("who", ["base", "expert"])
def test_normalising_divides_value_and_error_by_the_reference(who: str) -> None:
    wanted = objective(TaskObjective(task="a", normalise=who))
    refs = References(base={"a": 0.5}, expert={"a": 0.8})
    found = compute_fitness(wanted, [score("a", 0.4, 0.02)], refs)
    reference = getattr(refs, who)["a"]
    assert (found.value, found.stderr) == pytest.approx((0.4 / reference, 0.02 / reference))


def test_a_reference_of_zero_is_an_error_that_names_the_task() -> None:
    wanted = objective(TaskObjective(task="a", normalise="base"))
    with pytest.raises(TaskError, match="scores 0 on a"):
        compute_fitness(wanted, [score("a", 0.4)], References(base={"a": 0.0}))


def test_normalising_a_metric_that_should_be_small_keeps_its_direction() -> None:
    wanted = objective(TaskObjective(task="ppl", direction="min", normalise="base"))
    refs = References(base={"ppl": 10.0})
    better, worse = (compute_fitness(wanted, [score("ppl", v)], refs) for v in (8.0, 12.0))
    assert better.value > worse.value


@pytest.mark.parametrize(
    ("at_least", "value", "violation"),
    [
        (0.5, 0.6, 0.0),
        (0.5, 0.45, 0.05),
        ("base", 0.7, 0.0),
        ("base - 0.01", 0.695, 0.0),
        ("base - 0.01", 0.65, 0.04),
        ("base+.02", 0.7, 0.02),
        ("expert", 0.7, 0.2),
    ],
)
def test_a_constraint_is_missed_by_as_much_as_the_score_lies_below_it(
    at_least: float | str, value: float, violation: float
) -> None:
    wanted = objective(TaskObjective(task="a", at_least=at_least))
    refs = References(base={"a": 0.7}, expert={"a": 0.9})
    found = compute_fitness(wanted, [score("a", value)], refs)
    assert found.violation == pytest.approx(violation, abs=1e-12)
    assert found.feasible == (violation == 0)


def test_a_constraint_on_a_metric_that_should_be_small_is_an_upper_bound() -> None:
    wanted = objective(TaskObjective(task="ppl", direction="min", at_least=10.0))
    assert compute_fitness(wanted, [score("ppl", 9.0)]).feasible
    assert compute_fitness(wanted, [score("ppl", 12.0)]).violation == pytest.approx(2.0)


def test_the_feasible_rank_before_the_others_and_smaller_violations_first() -> None:
    best, middle, last = Fitness(0.1, None), Fitness(0.9, None, 0.1), Fitness(0.95, None, 0.2)
    assert sorted([last, best, middle], key=lambda f: f.sort_key) == [last, middle, best]


@pytest.mark.parametrize("text", ["bases", "base - ", "base * 2", "0.5%", "expert 0.1"])
def test_a_constraint_that_cannot_be_read_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="write a number"):
        TaskObjective(task="a", at_least=text)


def test_only_objectives_that_refer_to_other_models_need_their_scores() -> None:
    assert not needs_references(objective(TaskObjective(task="a", at_least=0.5)))
    assert needs_references(objective(TaskObjective(task="a", at_least="base")))
    assert needs_references(objective(TaskObjective(task="a", normalise="expert")))


@given(st.lists(st.floats(0, 1), min_size=2, max_size=50))
def test_a_mean_has_the_error_of_a_mean(values: list[float]) -> None:
    found = mean_score("a", "acc", np.array(values))
    assert found.value == pytest.approx(np.mean(values))
    assert found.stderr == pytest.approx(np.std(values, ddof=1) / math.sqrt(len(values)))
    assert found.n == len(values)


def test_one_document_has_no_error() -> None:
    assert mean_score("a", "acc", np.array([1.0])).stderr is None


@given(st.floats(0, 1, exclude_max=True))
def test_every_document_falls_into_one_split_and_each_split_has_its_share(place: float) -> None:
    splits = Splits(search=0.6, validation=0.2, test=0.2)
    expected = Split.SEARCH if place < 0.6 else Split.VALIDATION if place < 0.8 else Split.TEST
    assert splits.split_of(place) is expected


def test_a_split_without_a_share_gets_no_document() -> None:
    splits = Splits(search=0.9999995, validation=0, test=0)
    assert splits.split_of(np.nextafter(1.0, 0.0)) is Split.SEARCH
    halves = Splits(search=0.35, validation=0.6499999, test=0)
    assert halves.split_of(np.nextafter(1.0, 0.0)) is Split.VALIDATION
