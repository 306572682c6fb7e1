"""Transformers' engine follows candidates of other widths, and comes back; vLLM's is refused at once."""

from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from evomerge.evaluation.hf_engine import HFEvaluator
from evomerge.evaluation.hf_places import named_tensors
from evomerge.merging.merge import MergeSource
from evomerge.merging.offline import merge_to_folder
from evomerge.preflight.checks import _width_problems
from evomerge.recipe import Recipe, Source, constant
from tests.alignment.networks import answers, load, make
from tests.support import fake_spec

NARROW = {"mixtral": "intermediate_size", "qwen_moe": "moe_intermediate_size"}


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def pleas(ratio):
    return Recipe(
        merge_method="pleas",
        models=(Source(model="one"), Source(model="two")),
        parameters={"ratio": constant(ratio), "least_squares": constant(False)},
        dtype="float32",
    )


def engine(folders, family="llama"):
    """The evaluator of a loaded model, without tasks."""
    made = HFEvaluator.__new__(HFEvaluator)
    model = load(family, folders["one"])
    made._dead = None
    made.model = model
    made.wrapper = SimpleNamespace(_model=model, device="cpu")
    made._parameters = named_tensors(model)
    made._source = MergeSource(folders)
    return made


def test_a_candidate_of_another_width_is_what_its_checkpoint_is(tmp_path):
    folders = {name: make("llama", tmp_path / name, n) for n, name in enumerate(("one", "two"))}
    live = engine(folders)
    for ratio in (0.0, 0.5, 1.0, 0.0):
        live.apply(pleas(ratio))
        out = tmp_path / f"{ratio}"
        if not out.exists():
            merge_to_folder(pleas(ratio), out, models=folders)
        held = dict(live.model.named_parameters())
        stored = load_file(out / "model.safetensors")
        assert all(torch.equal(held[name], tensor) for name, tensor in stored.items())
        assert torch.equal(answers(live.wrapper._model), answers(load("llama", out)))


@pytest.mark.parametrize("family", ["mixtral", "qwen_moe"])
def test_mixtures_whose_experts_transformers_fuses_are_merged_in_place(family, tmp_path):
    """At the same widths, with narrower experts, and back."""
    folders = {name: make(family, tmp_path / name, n) for n, name in enumerate(("one", "two"))}
    live = engine(folders, family)
    small = make(family, tmp_path / "small", 3, **{NARROW[family]: 8})
    folders["small"] = small
    live._source = MergeSource(folders)
    average = Recipe(
        merge_method="linear",
        models=tuple(Source(model=n, parameters={"weight": constant(0.5)}) for n in ("one", "two")),
        dtype="float32",
    )
    alone = Recipe(merge_method="passthrough", models=(Source(model="small"),), dtype="float32")
    for number, recipe in enumerate((average, alone, average)):
        live.apply(recipe)
        merge_to_folder(recipe, tmp_path / f"{number}", models=folders)
        expected = answers(load(family, tmp_path / f"{number}"))
        assert torch.allclose(answers(live.wrapper._model), expected, atol=1e-5)


@pytest.mark.parametrize(
    ("space", "words"),
    [
        ({"method": "pleas", "ratio": {"range": [0, 0.5]}}, "engine: {name: hf}"),
        ({"method": "dam"}, "evomerge dam"),
        ({"method": "m_smoe", "hidden": {"range": [0.5, 1]}}, "engine: {name: hf}"),
        ({"method": "m_smoe", "form": "grouped"}, "no engine runs"),
    ],
)
def test_what_no_running_engine_can_follow_is_refused(space, words, tmp_path):
    spec = fake_spec(tmp_path)
    changed = type(spec).model_validate(
        {**spec.model_dump(), "space": space, "engine": {"name": "vllm"}}
    )
    assert any(words in str(problem) for problem in _width_problems(changed))
