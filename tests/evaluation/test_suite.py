"""The suite around an engine: requests in, lm-eval's results out; no engine needed."""

import math

import numpy as np
import pytest

from evomerge.errors import MergeError, TaskError
from evomerge.evaluation.margins import Gold, margin_values
from evomerge.evaluation.suite import Answers, TaskSuite
from evomerge.fitness import Split
from tests.evaluation.conftest import make_spec

NAMES = {"base": "base", "one": "one", "two": "two"}


class Scripted:
    """A model that gives every choice the log-likelihood that a function says."""

    def __init__(self, likelihood):
        self.likelihood = likelihood
        self.planned = []

    def plan(self, instances):
        self.planned.append(list(instances))
        self.instances = instances
        return self

    def run(self):
        responses = [(self.likelihood(one), False) for one in self.instances]
        return Answers(responses, 0.0, len(responses))


def suite(task_folder, model, tasks=("letters",), **objective):
    return TaskSuite(make_spec(NAMES, task_folder, tasks, **objective).objective, model)


def right(instance):
    """The likelihood of a model that knows every answer."""
    return -0.1 if instance.idx == instance.doc["answer"] else -5.0


def test_a_model_that_knows_every_answer_scores_one(task_folder):
    scores = suite(task_folder, Scripted(right)).score(Split.SEARCH).scores
    by_metric = {score.metric: score for score in scores}
    assert by_metric["acc"].value == 1.0
    assert by_metric["acc"].headline
    assert by_metric["margin"].value == pytest.approx(4.9)
    assert by_metric["gold_prob"].value == pytest.approx(1 / (1 + 3 * math.exp(-4.9)))


def test_documents_keep_lm_evals_numbers_rising(task_folder):
    made = suite(task_folder, Scripted(right))
    numbers = [made.score(split).outcomes[0].doc_ids for split in Split]
    assert all(list(found) == sorted(found) for found in numbers)
    assert sorted(sum(numbers, ())) == list(range(40))


def test_requests_are_encoded_once_for_many_candidates(task_folder):
    model = Scripted(right)
    made = suite(task_folder, model)
    first, second = made.score(Split.SEARCH), made.score(Split.SEARCH)
    assert len(model.planned) == 1
    assert np.array_equal(first.outcomes[0].values["acc"], second.outcomes[0].values["acc"])


def test_fewshot_contexts_do_not_depend_on_what_was_built_before(task_folder):
    contexts = []
    for _ in range(2):
        model = Scripted(right)
        suite(task_folder, model).prepare(Split.TEST)
        contexts.append([one.args for one in model.planned[0]])
    assert contexts[0] == contexts[1]


def test_a_limit_is_per_task_and_split(task_folder):
    made = suite(task_folder, Scripted(right), limit=3)
    assert [made.score(split).scores[0].n for split in Split] == [3, 3, 3]


def test_all_tasks_of_a_split_go_to_the_model_together(task_folder):
    model = Scripted(right)
    suite(task_folder, model, ["letters", "words"]).prepare(Split.SEARCH)
    assert {one.task_name for one in model.planned[0]} == {"letters", "words"}


def test_answers_that_are_no_numbers_are_the_merges_fault(task_folder):
    made = suite(
        task_folder,
        Scripted(lambda _: float("nan")),
        [{"task": "letters", "metric": "margin"}],
    )
    with pytest.raises(MergeError, match="margin of 'letters' is nan"):
        made.score(Split.SEARCH)


def test_an_empty_split_is_named(task_folder):
    made = suite(task_folder, Scripted(right), splits={"search": 1, "validation": 0, "test": 0})
    with pytest.raises(TaskError, match="split 'test' of 'letters' is empty"):
        made.score(Split.TEST)


def test_margins_need_a_right_and_a_wrong_choice():
    assert margin_values([(-1.0, True)], Gold(1, (0,))) == {"gold_prob": None, "margin": None}


def test_several_right_choices_share_the_probability():
    found = margin_values([(-1.0, True), (-1.0, False), (-1.0, False)], Gold(3, (0, 2)))
    assert found == {"gold_prob": pytest.approx(2 / 3), "margin": 0.0}
