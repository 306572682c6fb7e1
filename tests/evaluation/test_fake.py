"""The fake evaluator: fast, smooth, and the same in every process."""

import numpy as np
import pytest

from evomerge.errors import MergeError, TaskError
from evomerge.evaluation import make_evaluator
from evomerge.fitness import Split
from evomerge.racing import RacePlan
from evomerge.recipe import Recipe, Source, constant
from evomerge.spec import SearchSpec


def spec(**objective):
    tasks = objective.pop("tasks", [{"task": "a"}, {"task": "b", "metric": "margin"}])
    return SearchSpec.model_validate(
        {
            "base_model": "base",
            "models": ["one", "two"],
            "objective": {"tasks": tasks, **objective},
            "engine": {"name": "fake"},
        }
    )


def recipe(one, two, method="task_arithmetic"):
    sources = [
        Source(model=name, parameters={"weight": constant(weight)})
        for name, weight in (("one", one), ("two", two))
    ]
    return Recipe(merge_method=method, base_model="base", models=tuple(sources))


def test_the_same_recipe_gets_the_same_outcomes_from_two_evaluators():
    first, second = (make_evaluator(spec()).evaluate(recipe(0.4, 0.6), Split.SEARCH) for _ in "ab")
    assert first.scores == second.scores
    for one, two in zip(first.outcomes, second.outcomes, strict=True):
        assert one.doc_ids == two.doc_ids
        assert all(np.array_equal(one.values[name], two.values[name]) for name in one.values)


def test_the_headline_is_the_metric_asked_for_and_acc_where_none_is():
    scores = make_evaluator(spec()).evaluate(recipe(0.4, 0.6), Split.SEARCH).scores
    assert [(score.task, score.metric, score.headline) for score in scores] == [
        ("a", "acc", True),
        ("b", "margin", True),
    ]


def test_weights_near_the_hidden_optimum_score_higher_than_the_base():
    evaluator = make_evaluator(spec())
    near = evaluator.evaluate(recipe(0.7, 0.7), Split.SEARCH).scores
    far = evaluator.evaluate(recipe(0.0, 0.0), Split.SEARCH).scores
    assert sum(score.value for score in near) > sum(score.value for score in far)


def test_splits_share_no_document():
    evaluator = make_evaluator(spec())
    seen = [set(evaluator.evaluate(recipe(1, 1), s).outcomes[0].doc_ids) for s in Split]
    assert sum(map(len, seen)) == len(set.union(*seen)) == 500


def test_limit_is_per_task_and_split():
    result = make_evaluator(spec(limit=10)).evaluate(recipe(1, 1), Split.TEST)
    assert [score.n for score in result.scores] == [10, 10]


def test_linear_weights_that_cancel_give_no_weights():
    with pytest.raises(MergeError, match="cancel"):
        make_evaluator(spec()).evaluate(recipe(0.5, -0.5, "linear"), Split.SEARCH)


def test_an_empty_split_is_refused():
    empty = spec(splits={"search": 1, "validation": 0, "test": 0})
    with pytest.raises(TaskError, match="empty"):
        make_evaluator(empty).evaluate(recipe(1, 1), Split.TEST)


def race_against(result, **settings):
    tasks = {one.task: next(iter(one.values)) for one in result.outcomes}
    factors = dict.fromkeys(tasks, 1 / len(tasks))
    return RacePlan(result.outcomes, tasks, factors, 0.05, 10, 3)


def test_a_race_ends_early_for_a_poor_recipe_and_costs_count_its_documents():
    evaluator = make_evaluator(spec(tasks=[{"task": "a"}, {"task": "b"}]))
    good = evaluator.evaluate(recipe(0.7, 0.7), Split.SEARCH)
    poor = evaluator.evaluate(recipe(0.0, 0.0), Split.SEARCH, race_against(good))
    assert poor.dropped
    assert poor.costs.tokens == sum(len(one.doc_ids) for one in poor.outcomes)
    assert poor.costs.tokens < good.costs.tokens / 4
    assert good.costs.tokens == sum(len(one.doc_ids) for one in good.outcomes)
    assert [score.n for score in poor.scores] == [len(one.doc_ids) for one in poor.outcomes]


def test_a_survivor_of_a_race_scores_what_it_scores_without():
    evaluator = make_evaluator(spec(tasks=[{"task": "a"}, {"task": "b"}]))
    poor = evaluator.evaluate(recipe(0.0, 0.0), Split.SEARCH)
    alone = evaluator.evaluate(recipe(0.7, 0.7), Split.SEARCH)
    raced = evaluator.evaluate(recipe(0.7, 0.7), Split.SEARCH, race_against(poor))
    assert raced.scores == alone.scores
    assert raced.costs == alone.costs
    assert not raced.dropped
