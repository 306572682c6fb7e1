"""The suite around an engine: requests in, lm-eval's results out; no engine needed."""

import math
from dataclasses import replace

import numpy as np
import pytest

from evomerge.errors import MergeError, TaskError
from evomerge.evaluation.margins import Gold, margin_values
from evomerge.evaluation.suite import Answers, TaskSuite
from evomerge.fitness import Split
from evomerge.racing import Layout, RacePlan
from tests.evaluation.conftest import make_spec

NAMES = {"base": "base", "one": "one", "two": "two"}


class Scripted:
    """A model that gives every choice the log-likelihood that a function says."""

    def __init__(self, likelihood):
        self.likelihood = likelihood
        self.planned = []

    def plan(self, instances):
        self.planned.append(list(instances))
        return ScriptedPlan(self, self.planned[-1])

    def apply_chat_template(self, chat_history, add_generation_prompt=True):
        raise AssertionError("no task of these tests has a chat template")


class ScriptedPlan:
    def __init__(self, model, instances):
        self.model, self.instances = model, instances

    def run(self):
        responses = [(self.model.likelihood(one), False) for one in self.instances]
        return Answers(responses, 0.25, len(responses))


def suite(task_folder, model, tasks=("letters",), layout=None, **objective):
    return TaskSuite(make_spec(NAMES, task_folder, tasks, **objective).objective, model, layout)


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


def wrong(instance):
    """The likelihood of a model that is sure of something else."""
    return -0.1 if instance.idx == (instance.doc["answer"] + 1) % 4 else -5.0


def wavering(instance):
    """The likelihood of a model that knows every third answer."""
    return right(instance) if len(instance.doc["question"]) % 3 == 0 else wrong(instance)


def race_against(result, metric="acc", **settings):
    """The plan of a race against one who scored `result`."""
    tasks = [one.task for one in result.outcomes]
    factors = dict.fromkeys(tasks, 1 / len(tasks))
    plan = RacePlan(result.outcomes, dict.fromkeys(tasks, metric), factors, 0.05, 6, 3)
    return replace(plan, **settings)


def same(one, other):
    """Bit for bit: scores, order and numbers of documents, values."""
    assert one.scores == other.scores
    for mine, its in zip(one.outcomes, other.outcomes, strict=True):
        assert (mine.task, mine.doc_ids, list(mine.values)) == (
            its.task,
            its.doc_ids,
            list(its.values),
        )
        for name in mine.values:
            assert np.array_equal(mine.values[name], its.values[name], equal_nan=True)
    return True


def test_a_candidate_that_loses_its_race_is_asked_no_more(task_folder):
    rival = suite(task_folder, Scripted(right), ["letters", "words"]).score(Split.SEARCH)
    loser = Scripted(wrong)
    result = suite(task_folder, loser, ["letters", "words"]).score(
        Split.SEARCH, race_against(rival)
    )
    assert result.dropped
    answered = {one.task: one.doc_ids for one in result.outcomes}
    for one in rival.outcomes:
        assert 0 < len(answered[one.task]) < len(one.doc_ids)
        assert set(answered[one.task]) < set(one.doc_ids)
        assert list(answered[one.task]) == sorted(answered[one.task])
    assert {score.n for score in result.scores if score.headline} == set(
        map(len, answered.values())
    )


def test_a_survivor_scores_bit_for_bit_what_it_scores_without_a_race(task_folder):
    names = ["letters", "words"]
    rival = suite(task_folder, Scripted(wrong), names).score(Split.SEARCH)
    made = suite(task_folder, Scripted(wavering), names)
    alone, raced = made.score(Split.SEARCH), made.score(Split.SEARCH, race_against(rival))
    assert not raced.dropped
    assert same(alone, raced)


def test_where_candidates_race_the_engine_gets_the_same_calls_with_a_race_or_without(task_folder):
    """Engines may round otherwise in batches of another size, so batches must not differ."""
    rival = suite(task_folder, Scripted(wrong)).score(Split.SEARCH)
    plan = race_against(rival)
    calls = []
    for race in (None, plan):
        model = Scripted(wavering)
        suite(task_folder, model, layout=plan.layout).score(Split.SEARCH, race)
        calls.append([[(one.doc_id, one.idx) for one in block] for block in model.planned])
    assert calls[0] == calls[1]
    assert len(calls[0]) == 6


def test_the_test_split_is_answered_in_one_call(task_folder):
    model = Scripted(right)
    suite(task_folder, model, layout=Layout(6, 3)).score(Split.TEST)
    assert len(model.planned) == 1


def test_blocks_are_encoded_once_for_many_candidates(task_folder):
    rival = suite(task_folder, Scripted(wrong)).score(Split.SEARCH)
    model = Scripted(wavering)
    made = suite(task_folder, model)
    first, second = (made.score(Split.SEARCH, race_against(rival)) for _ in "ab")
    assert len(model.planned) == 6
    assert same(first, second)


def test_costs_of_blocks_add_up(task_folder):
    rival = suite(task_folder, Scripted(wrong)).score(Split.SEARCH)
    model = Scripted(wavering)
    costs = suite(task_folder, model).score(Split.SEARCH, race_against(rival)).costs
    assert costs.forward_seconds == 6 * 0.25
    assert costs.tokens == sum(map(len, model.planned))


@pytest.mark.parametrize(
    "change",
    [
        {"rival": ()},
        {"metrics": {"letters": "f1"}},
        {"metrics": {"letters": "margin"}},
        {"factors": {"letters": float("nan")}},
    ],
)
def test_a_race_that_cannot_be_held_drops_nobody(task_folder, change):
    rival = suite(task_folder, Scripted(right)).score(Split.SEARCH)
    plan = race_against(rival)
    assert suite(task_folder, Scripted(wrong)).score(Split.SEARCH, plan).dropped
    result = suite(task_folder, Scripted(wrong)).score(Split.SEARCH, replace(plan, **change))
    assert not result.dropped


def test_a_rival_that_answered_other_documents_is_no_rival(task_folder):
    rival = suite(task_folder, Scripted(right)).score(Split.SEARCH)
    fewer = suite(task_folder, Scripted(wrong), limit=20)
    assert not fewer.score(Split.SEARCH, race_against(rival)).dropped


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
