"""The transformers fallback: the same suite, the same outcomes as lm-eval's own Hugging Face run."""

import pytest
import torch

from evomerge.errors import EngineError, MergeError
from evomerge.evaluation.hf_engine import HFEvaluator
from evomerge.fitness import Split
from tests.evaluation.conftest import make_spec, merge
from tests.evaluation.test_vllm_engine import oracle_values, our_values, simple_evaluate

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def hf(models, task_folder):
    made = HFEvaluator(
        make_spec(models, task_folder, ["letters", "words", "say"], engine={"name": "hf"})
    )
    yield made
    made.close()


def test_outcomes_equal_simple_evaluate_document_by_document(hf, models, task_folder):
    result = hf.evaluate(merge(models), Split.SEARCH)
    oracle = simple_evaluate(hf, task_folder, ["letters", "words", "say"])
    for task, metric, filter_name in (
        ("letters", "acc", "none"),
        ("words", "acc_norm", "none"),
        ("say", "exact_match", "first-word"),
    ):
        ours = f"{metric},{filter_name}" if task == "say" else metric
        expected = oracle_values(oracle, task, metric, filter_name)
        found = our_values(result, task, ours)
        assert found == {number: expected[number] for number in found}
    assert result.costs.tokens > 500


@pytest.mark.parametrize("case", [{}, {"tied": True}, {"dtype": "bfloat16", "tied": True}])
def test_a_merge_in_place_is_what_the_exported_checkpoint_holds(case, tmp_path, task_folder):
    from transformers import AutoModelForCausalLM

    from evomerge.merging.offline import merge_to_folder
    from tests.evaluation import tiny

    models = tiny.write_models(tmp_path / "models", **case)
    dtype = case.get("dtype", "float32")
    evaluator = HFEvaluator(
        make_spec(models, task_folder, ["letters"], engine={"name": "hf", "dtype": dtype})
    )
    evaluator.apply(merge(models, 0.2, 0.9))
    evaluator.apply(merge(models, 0.7, 0.5))
    merge_to_folder(merge(models, 0.7, 0.5), tmp_path / "merged")
    exported = AutoModelForCausalLM.from_pretrained(
        tmp_path / "merged", dtype=getattr(torch, dtype)
    )
    for (name, ours), (_, theirs) in zip(
        evaluator.model.state_dict().items(), exported.state_dict().items(), strict=True
    ):
        assert torch.equal(ours, theirs), name


def test_a_recipe_that_gives_no_weights_fails_alone(hf, models):
    with pytest.raises(MergeError, match="cancel"):
        hf.evaluate(merge(models, 0.5, -0.5, "linear"), Split.SEARCH)
    assert hf.evaluate(merge(models), Split.TEST).scores


def test_a_closed_evaluator_says_so(models, task_folder):
    made = HFEvaluator(make_spec(models, task_folder, ["letters"], engine={"name": "hf"}))
    made.close()
    with pytest.raises(EngineError, match="closed"):
        made.evaluate(merge(models), Split.SEARCH)
