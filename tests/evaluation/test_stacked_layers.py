"""An engine with room for more layers runs any stack as transformers runs its export."""

import json
import sys

import numpy as np
import pytest

from evomerge.errors import EngineError, MergeError
from evomerge.evaluation.depth import depth_arguments, empty_layers
from tests.evaluation.stacked_engine import STACKS
from tests.evaluation.test_against_fresh_engines import run


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stacked")
    run([sys.executable, "-m", "tests.evaluation.stacked_engine", str(folder)])
    return json.loads((folder / "found.json").read_text())


@pytest.mark.engine
@pytest.mark.parametrize("name", STACKS)
def test_a_stack_answers_in_the_live_engine_as_its_export_does_in_transformers(found, name):
    case = found[name]
    assert case["layers"] == sum(STACKS[name]), "the export has no empty layers"
    assert np.allclose(case["live"], case["exported"], atol=2e-3)


@pytest.mark.engine
def test_different_stacks_answer_differently(found):
    answers = [str(found[name]["live"]) for name in STACKS]
    assert len(set(answers)) == len(STACKS)


@pytest.mark.engine
def test_merges_of_the_base_models_depth_run_in_the_same_engine(found):
    assert 0 <= found["a merge"]["score"] <= 1
    assert found["base again"], "nothing of a deeper candidate stays"


@pytest.mark.engine
def test_merges_go_straight_into_the_parameters_of_empty_layers_too(found):
    assert found["views"] > 0


@pytest.mark.engine
def test_a_stack_with_more_layers_than_the_engine_is_refused(found):
    assert "the recipe has 6 layers, the engine 5" in found["refused"]
    assert "→" in found["refused"]


def test_an_engine_without_room_takes_recipes_of_its_own_depth_alone():
    shapes = {f"model.layers.{layer}.mlp.weight": (2, 2) for layer in range(2)}
    assert empty_layers(shapes, 2, exact=True) == {}
    with pytest.raises(MergeError, match="2 layers, the engine 3"):
        empty_layers(shapes, 3, exact=True)
    assert empty_layers(shapes, 3, exact=False) == {"model.layers.2.mlp.weight": (2, 2)}


def test_an_engine_is_told_of_more_layers_of_the_kind_that_there_is(tmp_path):
    from transformers import Qwen2Config

    Qwen2Config(num_hidden_layers=3).save_pretrained(tmp_path)
    found = depth_arguments(str(tmp_path), 5)
    assert found["load_format"] == "dummy", "the file has no weights for some of them"
    assert found["hf_overrides"]["num_hidden_layers"] == 5
    assert found["hf_overrides"]["layer_types"] == ["full_attention"] * 5


def test_no_engine_is_built_deeper_where_layers_differ_in_kind(tmp_path):
    from transformers import Gemma3TextConfig

    Gemma3TextConfig(num_hidden_layers=8).save_pretrained(tmp_path)
    with pytest.raises(EngineError, match="differ in kind") as caught:
        depth_arguments(str(tmp_path), 10)
    assert caught.value.remedy
