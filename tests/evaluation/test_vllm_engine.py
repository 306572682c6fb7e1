"""The live engine: what is merged in place is what a fresh engine would load, and it says what it did."""

import json

import numpy as np
import pytest

from evomerge.errors import EngineError, MergeError
from evomerge.evaluation.suite import TaskSuite
from evomerge.fitness import Split, TaskOutcomes
from evomerge.racing import Layout, RacePlan, layout_of
from evomerge.recipe import Recipe, Slice, Source, constant
from tests.evaluation.conftest import make_spec, merge

pytestmark = pytest.mark.engine


def simple_evaluate(evaluator, task_folder, names, **settings):
    """lm-eval's own run on the very same engine."""
    import lm_eval
    from lm_eval.tasks import TaskManager

    return lm_eval.simple_evaluate(
        model=evaluator.wrapper,
        tasks=list(names),
        task_manager=TaskManager(include_path=str(task_folder), include_defaults=False),
        bootstrap_iters=0,
        log_samples=True,
        **settings,
    )


def oracle_values(oracle, task, metric, filter_name="none"):
    """`{doc_id: value}` as lm-eval logged it."""
    rows = [row for row in oracle["samples"][task] if row["filter"] == filter_name]
    return {row["doc_id"]: row[metric] for row in rows}


def our_values(result, task, metric):
    outcomes = next(found for found in result.outcomes if found.task == task)
    return dict(zip(outcomes.doc_ids, outcomes.values[metric].tolist(), strict=True))


@pytest.fixture(scope="module")
def scored(evaluator, models, task_folder):
    """One recipe on all three splits, and lm-eval's own results on the same weights."""
    results = [evaluator.evaluate(merge(models), split) for split in Split]
    names = [task.task for task in evaluator.suite.objective.tasks]
    return results, simple_evaluate(evaluator, task_folder, names)


@pytest.mark.parametrize(
    ("task", "metric", "filter_name", "ours"),
    [
        ("letters", "acc", "none", "acc"),
        ("letters", "acc_norm", "none", "acc_norm"),
        ("words", "acc", "none", "acc"),
        ("words", "acc_norm", "none", "acc_norm"),
        ("say", "exact_match", "first-word", "exact_match,first-word"),
        ("say", "exact_match", "whole", "exact_match,whole"),
    ],
)
def test_outcomes_equal_simple_evaluate_document_by_document(
    scored, task, metric, filter_name, ours
):
    results, oracle = scored
    found = {}
    for result in results:
        found |= our_values(result, task, ours)
    assert found == oracle_values(oracle, task, metric, filter_name)
    assert len(found) == 40


def test_generated_texts_are_not_all_wrong_or_all_right(scored):
    """Otherwise the comparison above would compare nothing."""
    results, oracle = scored
    texts = {row["filtered_resps"][0] for row in oracle["samples"]["say"]}
    assert len(texts) > 10
    assert 0 < np.mean(list(our_values(results[0], "letters", "acc").values())) < 1


def test_a_metric_without_per_document_numbers_is_aggregated_as_lm_eval_does(
    evaluator, models, task_folder
):
    full = make_spec(
        models, task_folder, ["text"], splits={"search": 1, "validation": 0, "test": 0}
    )
    from evomerge.evaluation.suite import TaskSuite

    evaluator.apply(merge(models))
    score = TaskSuite(full.objective, evaluator._model).score(Split.SEARCH).scores[0]
    oracle = simple_evaluate(evaluator, task_folder, ["text"])["results"]["text"]
    assert score.value == pytest.approx(oracle["word_perplexity,none"], rel=1e-6)
    assert evaluator.suite.objective.tasks[3].direction == "min"


def test_fewshot_settings_are_honoured_as_lm_eval_does(evaluator, models, task_folder):
    from evomerge.evaluation.suite import TaskSuite

    objective = make_spec(
        models,
        task_folder,
        ["letters", "say"],
        num_fewshot=3,
        fewshot_seed=7,
        system_instruction="Answer well.",
    ).objective
    result = TaskSuite(objective, evaluator._model).score(Split.SEARCH)
    oracle = simple_evaluate(
        evaluator,
        task_folder,
        ["letters", "say"],
        num_fewshot=3,
        fewshot_random_seed=7,
        system_instruction="Answer well.",
    )
    expected = oracle_values(oracle, "letters", "acc")
    found = our_values(result, "letters", "acc")
    assert found == {number: expected[number] for number in found}


def test_margins_are_the_log_likelihoods_lm_eval_saw(scored):
    results, oracle = scored
    expected = {}
    for row in oracle["samples"]["words"]:
        lls = [found[0] for found in row["filtered_resps"]]
        gold = lls.pop(row["target"])
        expected[row["doc_id"]] = gold - max(lls)
    for result in results:
        for number, margin in our_values(result, "words", "margin").items():
            assert margin == pytest.approx(expected[number], abs=1e-4)
        probabilities = our_values(result, "words", "gold_prob").values()
        assert all(0 <= share <= 1 for share in probabilities)


def test_the_same_recipe_gets_the_same_bits_again_after_another_one(evaluator, models):
    first = evaluator.evaluate(merge(models), Split.SEARCH)
    evaluator.evaluate(merge(models, 0.1, 0.9, "dare_linear"), Split.SEARCH)
    again = evaluator.evaluate(merge(models), Split.SEARCH)
    for one, two in zip(first.outcomes, again.outcomes, strict=True):
        assert all(np.array_equal(one.values[name], two.values[name]) for name in one.values)


def rivals_who(result, value):
    """The race against one whose every answer is `value`."""
    metrics = {"letters": "acc", "words": "acc_norm", "say": "exact_match,whole"}
    outcomes = tuple(
        TaskOutcomes(one.task, one.doc_ids, {metrics[one.task]: np.full(len(one.doc_ids), value)})
        for one in result.outcomes
    )
    return RacePlan(outcomes, metrics, dict.fromkeys(metrics, 1 / 3), 0.05, 4, 5)


def test_a_survivor_of_a_race_answers_bit_for_bit_what_it_answers_without(
    evaluator, models, task_folder
):
    objective = make_spec(models, task_folder, ["letters", "words", "say"]).objective
    suite = TaskSuite(objective, evaluator._model, Layout(4, 5))
    evaluator.apply(merge(models))
    alone = suite.score(Split.SEARCH)
    evaluator.apply(merge(models))
    raced = suite.score(Split.SEARCH, rivals_who(alone, 0.0))
    assert not raced.dropped
    assert raced.scores == alone.scores
    for one, two in zip(raced.outcomes, alone.outcomes, strict=True):
        assert one.doc_ids == two.doc_ids
        assert all(np.array_equal(one.values[m], two.values[m]) for m in two.values)


def test_a_candidate_that_loses_its_race_answers_a_part_as_it_answers_the_whole(
    evaluator, models, task_folder
):
    objective = make_spec(models, task_folder, ["letters", "words", "say"]).objective
    suite = TaskSuite(objective, evaluator._model, Layout(4, 5))
    evaluator.apply(merge(models))
    whole = suite.score(Split.SEARCH)
    evaluator.apply(merge(models))
    part = suite.score(Split.SEARCH, rivals_who(whole, 1.0))
    assert part.dropped
    assert part.costs.tokens < whole.costs.tokens
    for one, two in zip(part.outcomes, whole.outcomes, strict=True):
        places = [two.doc_ids.index(number) for number in one.doc_ids]
        assert all(np.array_equal(one.values[m], two.values[m][places]) for m in one.values)


def test_an_evaluator_answers_in_the_blocks_of_its_search(evaluator):
    assert evaluator.suite._layout == layout_of(evaluator._spec)


def test_costs_are_filled_in_and_add_up_to_less_than_the_whole(evaluator, models):
    costs = evaluator.evaluate(merge(models, 0.3, 0.2), Split.SEARCH).costs
    parts = (costs.merge_seconds, costs.forward_seconds, costs.overhead_seconds)
    assert all(part > 0 for part in parts)
    assert costs.tokens > 500


def test_stale_prefixes_are_dropped_with_the_old_weights(evaluator, models, monkeypatch):
    """Generation after a swap equals generation on an engine that never saw the old weights."""
    evaluator.evaluate(merge(models, 0.0, 1.0), Split.SEARCH)
    calls = []
    reset = evaluator.wrapper.model.reset_prefix_cache
    monkeypatch.setattr(
        evaluator.wrapper.model, "reset_prefix_cache", lambda: calls.append(1) or reset()
    )
    evaluator.apply(merge(models))
    assert calls == [1]


def test_a_recipe_that_gives_no_weights_fails_alone(evaluator, models):
    before = evaluator.evaluate(merge(models), Split.SEARCH).scores
    with pytest.raises(MergeError, match="cancel"):
        evaluator.evaluate(merge(models, 0.5, -0.5, "linear"), Split.SEARCH)
    assert evaluator.evaluate(merge(models), Split.SEARCH).scores == before


def test_weights_that_overflow_fail_alone_though_parameters_were_written(evaluator, models):
    before = evaluator.evaluate(merge(models), Split.SEARCH).scores
    with pytest.raises(MergeError, match="not finite"):
        evaluator.evaluate(merge(models, 1e39, 1e39, "task_arithmetic"), Split.SEARCH)
    assert evaluator.evaluate(merge(models), Split.SEARCH).scores == before


def test_another_number_of_layers_cannot_go_into_a_live_engine(evaluator, models):
    source = Source(model=models["base"], layer_range=(0, 1), parameters={"weight": constant(1.0)})
    shallow = Recipe(
        merge_method="linear", base_model=models["base"], slices=(Slice(sources=(source,)),)
    )
    with pytest.raises(MergeError, match="layers"):
        evaluator.evaluate(shallow, Split.SEARCH)


def test_versions_name_what_can_change_a_score(evaluator):
    found = evaluator.versions()
    assert found["engine"] == "vllm"
    assert found["dtype"] == "float32"
    assert {"torch", "lm-eval", "transformers", "evomerge"} <= found.keys()


def test_merging_goes_straight_into_the_parameters_of_a_known_architecture(evaluator, models):
    assert evaluator.apply(merge(models))[1] == 0.0


def test_both_ways_into_the_engine_leave_the_same_bits(evaluator, models):
    evaluator.apply(merge(models))
    direct = evaluator.fingerprint()
    evaluator.apply(merge(models, out_dtype="bfloat16"))
    assert evaluator.fingerprint() != direct
    worker = evaluator.wrapper.model.llm_engine.model_executor.driver_worker
    views, worker._evomerge_places = worker._evomerge_places, {}
    evaluator.apply(merge(models))
    worker._evomerge_places = views
    assert evaluator.fingerprint() == direct


def test_an_apply_that_breaks_off_marks_the_engine_dead(evaluator, models, monkeypatch):
    from evomerge.evaluation import vllm_engine

    broken = object.__new__(vllm_engine.VLLMEvaluator)
    broken._dead = None
    broken._call = lambda *_: json.loads("")
    with pytest.raises(EngineError, match="half updated"):
        broken.evaluate(merge(models), Split.SEARCH)
    with pytest.raises(EngineError, match="no longer usable"):
        broken.evaluate(merge(models), Split.SEARCH)
