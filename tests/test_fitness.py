"""What a search climbs, from documents' outcomes: weights, goals, constraints, errors, own functions."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from evomerge.controller.events import ignore
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
    compute_objectives,
    fitness_of_draws,
    load_objective,
    mean_score,
    needs_references,
)
from evomerge.results import read_results
from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.store import open_store
from tests.support import fake_spec


def objective(*tasks: TaskObjective, **more: object) -> Objective:
    return Objective(tasks=tasks, **more)


A, B = TaskObjective(task="a"), TaskObjective(task="b")


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


def test_the_worst_task_decides_where_the_goal_says_so() -> None:
    wanted = objective(A, B, goal="worst")
    found = compute_fitness(wanted, [score("a", 0.9, 0.01), score("b", 0.4, 0.02)])
    assert found.value == 0.4
    assert found.stderr == pytest.approx(0.02, rel=0.1)


def test_the_worst_task_is_found_after_normalising_and_turning_round() -> None:
    wanted = objective(
        TaskObjective(task="a", normalise="expert"),
        TaskObjective(task="ppl", direction="min", normalise="expert"),
        goal="worst",
    )
    refs = References(expert={"a": 0.8, "ppl": 5.0})
    found = compute_fitness(wanted, [score("a", 0.6), score("ppl", 10.0)], refs)
    assert found.value == pytest.approx(-2.0)


def test_of_two_equally_bad_tasks_either_may_be_the_worst() -> None:
    """The minimum of two equal normals has the variance 1 - 1/pi."""
    wanted = objective(A, B, goal="worst")
    found = compute_fitness(wanted, [score("a", 0.5, 0.02), score("b", 0.5, 0.02)])
    assert found.stderr == pytest.approx(0.02 * math.sqrt(1 - 1 / math.pi), rel=0.1)


def test_with_pareto_every_task_is_an_objective_and_their_weighted_mean_stands_in() -> None:
    wanted = objective(TaskObjective(task="a", weight=3), B, goal="pareto")
    scores = [score("b", 0.8, 0.04), score("a", 0.4, 0.03)]
    found = compute_objectives(wanted, scores)
    assert [(one.name, one.value, one.stderr) for one in found] == [
        ("a", 0.4, 0.03),
        ("b", 0.8, 0.04),
    ]
    mean = compute_fitness(wanted.model_copy(update={"goal": "mean"}), scores)
    assert compute_fitness(wanted, scores) == mean


@pytest.mark.parametrize("goal", ["mean", "worst", "pareto"])
def test_constraints_hold_whatever_the_goal(goal: str) -> None:
    wanted = objective(TaskObjective(task="a", at_least=0.5), B, goal=goal)
    assert compute_fitness(wanted, [score("a", 0.4), score("b", 1.0)]).violation == pytest.approx(
        0.1
    )


@pytest.mark.parametrize(
    ("goal", "names"),
    [("mean", ("mean of the tasks",)), ("worst", ("worst task",)), ("pareto", ("a", "b"))],
)
def test_objectives_are_counted_before_anything_is_scored(
    goal: str, names: tuple[str, ...]
) -> None:
    wanted = objective(A, B, goal=goal)
    assert wanted.objective_names == names
    assert wanted.number_of_objectives == len(names)
    scores = [score("a", 0.1), score("b", 0.2)]
    assert tuple(one.name for one in compute_objectives(wanted, scores)) == names


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"goal": "pareto", "tasks": [{"task": "a"}]}, "two tasks"),
        ({"goal": "worst", "tasks": [{"task": "a", "weight": 2}]}, "`weight` of a has no effect"),
        ({"custom": "mine", "goal": "worst", "tasks": [{"task": "a"}]}, "leave out `goal`"),
        ({"custom": "mine", "tasks": [{"task": "a", "normalise": "base"}]}, "`normalise`"),
    ],
)
def test_settings_without_effect_are_refused(content: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        Objective.model_validate(content)


@pytest.mark.parametrize("goal", ["mean", "worst", "pareto"])
def test_many_draws_give_what_each_gives_alone(goal: str) -> None:
    tasks = (
        TaskObjective(task="a", normalise="base"),
        TaskObjective(task="ppl", direction="min", weight=1 if goal == "worst" else 2),
    )
    wanted = objective(*tasks, goal=goal)
    refs = References(base={"a": 0.5})
    draws = {"a": np.array([0.1, 0.9, 0.4]), "ppl": np.array([3.0, 0.2, 0.7])}
    alone = [
        compute_fitness(wanted, [score(name, draws[name][n]) for name in draws], refs).value
        for n in range(3)
    ]
    assert fitness_of_draws(wanted, draws, refs) == pytest.approx(alone)


MODULE = """
from evomerge.fitness import CustomObjective

HARMONIC = CustomObjective(
    "harmonic", lambda scores, references: len(scores) / sum(1 / s for s in scores.values())
)
GAINS = CustomObjective(
    "gains",
    lambda scores, references: {
        "least": min(s - references.base[t] for t, s in scores.items()),
        "total": sum(s - references.base[t] for t, s in scores.items()),
    },
    values=("total", "least"),
)
RAISES = CustomObjective("raises", lambda scores, references: 1 / 0)
NAN = CustomObjective("nan", lambda scores, references: float("nan"))
WORDS = CustomObjective("words", lambda scores, references: "good")
OTHERS = CustomObjective("others", lambda scores, references: {"a": 1.0}, values=("b",))
PLAIN = 3
"""
NAMES = ("harmonic", "gains", "raises", "nan", "words", "others", "plain", "absent")


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """A package that registers objectives, as pip would leave it."""
    (tmp_path / "their_objectives.py").write_text(MODULE)
    info = tmp_path / "their_objectives-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their\nVersion: 1.0\n")
    entries = "".join(f"{name} = their_objectives:{name.upper()}\n" for name in NAMES)
    (info / "entry_points.txt").write_text(f"[evomerge.objectives]\n{entries}")
    monkeypatch.syspath_prepend(tmp_path)
    load_objective.cache_clear()
    yield
    load_objective.cache_clear()
    sys.modules.pop("their_objectives", None)


def test_a_function_of_another_package_is_climbed(installed: None) -> None:
    wanted = objective(A, B, custom="harmonic")
    scores = [score("a", 0.5, 0.02), score("b", 0.25, 0.01)]
    found = compute_fitness(wanted, scores)
    assert found.value == pytest.approx(1 / 3)
    slopes = 2 * (1 / 3 / 2) ** 2 / np.array([0.5, 0.25]) ** 2
    assert found.stderr == pytest.approx(np.linalg.norm(slopes * [0.02, 0.01]), rel=1e-4)
    draws = {"a": np.array([0.5, 1.0]), "b": np.array([0.25, 1.0])}
    assert fitness_of_draws(wanted, draws, References()) == pytest.approx([1 / 3, 1.0])


def test_a_function_of_another_package_may_give_several_objectives(installed: None) -> None:
    wanted = objective(A, B, custom="gains")
    assert wanted.objective_names == ("total", "least")
    assert needs_references(wanted)
    refs = References(base={"a": 0.3, "b": 0.2})
    scores = [score("a", 0.5), score("b", 0.25)]
    found = compute_objectives(wanted, scores, refs)
    assert {one.name: one.value for one in found} == pytest.approx({"total": 0.25, "least": 0.05})
    assert compute_fitness(wanted, scores, refs).value == pytest.approx(0.15)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("harmonc", "harmonic"),
        ("absent", "cannot be loaded from their_objectives:ABSENT"),
        ("plain", "is no evomerge.fitness.CustomObjective"),
        ("raises", "raised ZeroDivisionError"),
        ("nan", "cannot be ranked"),
        ("words", "is no number"),
        ("others", "returned a, not b"),
    ],
)
def test_a_function_that_cannot_be_used_is_named(installed: None, name: str, said: str) -> None:
    wanted = objective(A, custom=name)
    with pytest.raises(TaskError) as error:
        compute_fitness(wanted, [score("a", 0.5)])
    assert said in str(error.value)
    assert error.value.remedy


def test_a_package_that_is_not_there_is_asked_for() -> None:
    with pytest.raises(TaskError, match="no installed package registers"):
        _ = objective(A, custom="nobody_has_it").number_of_objectives


def test_a_search_for_an_objective_that_nobody_has_is_refused_before_it_starts(tmp_path) -> None:
    spec = fake_spec(tmp_path, objective={"tasks": [{"task": "alpha"}], "custom": "nobody_has_it"})
    with pytest.raises(TaskError, match="no installed package registers"):
        check_search(spec, str(tmp_path / "s.db"))


def test_a_search_climbs_an_objective_of_another_package(installed: None, tmp_path) -> None:
    tasks = [{"task": "alpha"}, {"task": "beta"}]
    spec = fake_spec(
        tmp_path, objective={"tasks": tasks, "custom": "harmonic"}, budget={"candidates": 12}
    )
    store = open_store(tmp_path / "s.db")
    search = submit_search(store, check_search(spec, store.url))
    run_search(store, search.id, make_dispatcher(spec, store.url, inline=True), ignore)
    results = read_results(store, store.search(search.id))
    store.close()
    assert "in the objective 'harmonic' on" in results.sentence
    for row in results.rows:
        expected = 2 / sum(1 / score.value for score in row.scores.values())
        assert row.fitness.value == pytest.approx(expected)
        assert row.fitness.low < row.fitness.value < row.fitness.high
