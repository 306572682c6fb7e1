"""A worker writes what came out of a candidate, and replaces an engine that broke."""

from __future__ import annotations

from dataclasses import replace

import pytest

from evomerge.errors import EngineError, EvaluationError, MergeError
from evomerge.fitness import EvaluationResult, Split
from evomerge.racing import RacePlan
from evomerge.recipe import Recipe
from evomerge.worker import Task, Worker


class RecordingStore:
    """A fake store that remembers what it was told."""

    def __init__(self) -> None:
        self.finished: list[tuple[int, int]] = []
        self.failed: list[tuple[int, int, str, bool]] = []

    def finish_attempt(self, evaluation_id, attempt, result):
        self.finished.append((evaluation_id, attempt))
        return True

    def fail_attempt(self, evaluation_id, attempt, error, *, final):
        self.failed.append((evaluation_id, attempt, type(error).__name__, final))
        return True


class ScriptedEvaluator:
    """A fake evaluator that raises or returns what its script says next."""

    def __init__(self, script):
        self.script = script
        self.closed = False
        self.races = []

    def evaluate(self, recipe, split, race=None):
        self.races.append(race)
        outcome = self.script.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def versions(self):
        return {"engine": "scripted"}

    def close(self):
        self.closed = True


RESULT = EvaluationResult((), ())
TASK = Task(5, 1, 3, Recipe(merge_method="linear", models=()), Split.SEARCH)


def _worker(script):
    store, made = RecordingStore(), []

    def make():
        made.append(ScriptedEvaluator(script))
        return made[-1]

    return Worker(store, make), store, made


def test_a_result_is_written_under_its_attempt():
    worker, store, _ = _worker([RESULT])
    worker.run(TASK)
    assert store.finished == [(5, 1)]


def test_a_task_s_race_goes_to_the_evaluator_also_on_a_second_engine():
    race = RacePlan((), {}, {}, 0.05, 10, 0)
    worker, _, made = _worker([EngineError("half updated"), RESULT])
    worker.run(replace(TASK, race=race))
    assert [evaluator.races for evaluator in made] == [[race], [race]]


def test_a_candidate_without_weights_fails_for_good_at_once():
    worker, store, made = _worker([MergeError("the weights cancel")])
    worker.run(TASK)
    assert store.failed == [(5, 1, "MergeError", True)]
    assert not made[0].closed


@pytest.mark.parametrize(("attempt", "final"), [(1, False), (2, False), (3, True)])
def test_a_failed_evaluation_is_final_only_after_the_last_attempt(attempt, final):
    worker, store, _ = _worker([EvaluationError("no answer")])
    worker.run(Task(5, attempt, 3, TASK.recipe, Split.SEARCH))
    assert store.failed == [(5, attempt, "EvaluationError", final)]


def test_a_broken_engine_is_replaced_and_costs_no_attempt():
    worker, store, made = _worker([EngineError("half updated"), RESULT])
    worker.run(TASK)
    assert store.finished == [(5, 1)]
    assert [evaluator.closed for evaluator in made] == [True, False]


def test_a_candidate_that_breaks_two_engines_has_failed():
    worker, store, made = _worker([EngineError("one"), EngineError("two")])
    worker.run(TASK)
    assert store.failed == [(5, 1, "EvaluationError", False)]
    assert all(evaluator.closed for evaluator in made)


def test_an_engine_that_cannot_start_stops_the_worker():
    store = RecordingStore()

    def make():
        raise EngineError("no memory")

    with pytest.raises(EngineError):
        Worker(store, make).run(TASK)
    assert store.failed == []
