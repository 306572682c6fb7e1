"""Methods that use data inside running engines: the same bits as a merged checkpoint."""

from pathlib import Path

import pytest
import torch

from evomerge.calibration.sets import CalibrationSet, Example, make_set
from evomerge.errors import MergeError
from evomerge.evaluation.calibrated import Work, calibrate
from evomerge.evaluation.hf_engine import HFEvaluator
from evomerge.fitness import Split
from evomerge.recipe import Calibration, constant
from tests.calibration.models import sentences
from tests.evaluation.conftest import make_spec, merge

pytestmark = pytest.mark.engine
METHODS = {
    "fisher": {"normalise": "model"},
    "regmean": {"alpha": 0.8},
    "mats": {"iterations": 4.0, "objective": "kfac"},
    "sens_merging": {"temperature": 0.05},
    "sens_ties": {"density": 0.4},
}


@pytest.fixture(scope="module")
def texts(models) -> CalibrationSet:
    """Texts on which everything has been measured that the methods here need."""
    made = make_set([Example(text) for text in sentences(6)], {}, examples=6, max_length=64)
    made.save()
    folders = {name: Path(name) for name in (models["one"], models["two"])}
    needed = ("fisher", "input_grams", "logits", "output_gradient_grams", "sensitivity")
    assert calibrate(Work(tuple(folders), folders, needed, made), device="cpu") == 10
    assert calibrate(Work(tuple(folders), folders, needed, made), device="cpu") == 0
    return made


def recipe(models, method: str, texts: CalibrationSet):
    return merge(
        models,
        0.9,
        0.6,
        method,
        parameters={name: constant(value) for name, value in METHODS[method].items()},
        calibration=Calibration(data=texts.name),
    )


@pytest.mark.parametrize("method", METHODS)
def test_both_ways_into_a_vllm_engine_leave_the_same_bits(evaluator, models, texts, method) -> None:
    wanted = recipe(models, method, texts)
    evaluator.apply(wanted)
    direct = evaluator.fingerprint()
    evaluator.apply(merge(models))
    assert evaluator.fingerprint() != direct
    evaluator._call("forget_places")
    evaluator.apply(wanted)
    assert evaluator.fingerprint() == direct
    assert evaluator.find_places(wanted) > 0


@pytest.mark.parametrize("tied", [False, True])
def test_a_merge_in_place_is_what_the_exported_checkpoint_holds(tied, tmp_path, task_folder):
    from transformers import AutoModelForCausalLM

    from evomerge.merging.offline import merge_to_folder
    from tests.evaluation import tiny

    models = tiny.write_models(tmp_path / "models", tied=tied)
    made = make_set([Example(text) for text in sentences(4)], {}, examples=6, max_length=64)
    made.save()
    folders = {name: Path(name) for name in (models["one"], models["two"])}
    needed = ("fisher", "input_grams", "logits", "output_gradient_grams", "sensitivity")
    calibrate(Work(tuple(folders), folders, needed, made), device="cpu")
    engine = HFEvaluator(make_spec(models, task_folder, ["letters"], engine={"name": "hf"}))
    for method in METHODS:
        wanted = recipe(models, method, made)
        engine.apply(merge(models))
        engine.apply(wanted)
        merge_to_folder(wanted, tmp_path / method)
        exported = AutoModelForCausalLM.from_pretrained(tmp_path / method, dtype=torch.float32)
        pairs = zip(engine.model.state_dict().items(), exported.state_dict().items(), strict=True)
        for (name, ours), (_, theirs) in pairs:
            assert torch.equal(ours, theirs), (method, name)
    engine.close()


def test_a_recipe_whose_statistics_are_missing_fails_alone_and_names_the_command(
    evaluator, models
) -> None:
    others = make_set([Example("never measured")], {}, examples=6, max_length=64)
    others.save()
    with pytest.raises(MergeError, match="not measured yet") as caught:
        evaluator.evaluate(recipe(models, "regmean", others), Split.SEARCH)
    assert "evomerge calibrate" in str(caught.value)
    assert evaluator.evaluate(merge(models), Split.SEARCH).scores
