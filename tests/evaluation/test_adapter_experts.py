"""A search whose experts are adapters: checked, merged in place, scored and exported like any other."""

import json
from contextlib import closing
from pathlib import Path

import pytest
import torch

from evomerge.evaluation.models import base_only, model_folders
from evomerge.evaluation.self_test import canary, canary_prompts, reference
from evomerge.export import export_candidate
from evomerge.layout import read_index
from evomerge.preflight import preflight
from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.spec import SearchSpec
from evomerge.store import open_store
from tests.evaluation.conftest import make_spec
from tests.merging.adapters import factors, linear, save_adapter

pytestmark = pytest.mark.engine
PROJECTIONS = ("self_attn.q_proj", "self_attn.o_proj", "mlp.down_proj")


@pytest.fixture(scope="module")
def adapter(models, tmp_path_factory) -> Path:
    """A LoRA adapter of the tiny base, large enough to change answers."""
    base = read_index(Path(models["base"]))
    tensors = {}
    for layer in range(base.num_layers):
        for number, place in enumerate(PROJECTIONS):
            module = f"model.layers.{layer}.{place}"
            shape = base.tensors[f"{module}.weight"].shape
            tensors |= linear(module, *factors(shape, 4, 10 * layer + number, 0.2))
    return save_adapter(tmp_path_factory.mktemp("adapters") / "helper", tensors)


@pytest.fixture(scope="module")
def spec(models, adapter, task_folder) -> SearchSpec:
    made = make_spec(models, task_folder, ["letters"])
    return made.model_copy(
        update={
            "models": (f"{models['base']}+{adapter}", models["two"]),
            "space": made.space_spec.model_validate(
                {"method": "ties", "weight": {"range": [0, 1]}}
            ),
            "budget": made.budget.model_copy(update={"candidates": 4}),
        }
    )


def test_a_worker_with_an_adapter_for_its_first_expert_proves_itself(spec):
    """The self-test holds the adapter, merged in place, against transformers."""
    from evomerge.evaluation import make_evaluator

    evaluator = make_evaluator(spec)
    try:
        folders = model_folders(spec)
        prompts = canary_prompts(Path(folders[spec.base_model]))
        plain = canary(evaluator.wrapper, prompts)
        evaluator.apply(base_only(spec.models[0]))
        ours = torch.tensor(canary(evaluator.wrapper, prompts))
        theirs = torch.tensor(reference(spec, folders, "float32", prompts))
        assert (ours - theirs).abs().max() < 1e-3
        assert (ours - torch.tensor(plain)).abs().max() > 0.05
    finally:
        evaluator.close()


def test_a_search_over_adapters_ends_with_a_model_in_a_folder(spec, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    spec = spec.model_copy(update={"engine": spec.engine.model_copy(update={"name": "hf"})})
    url = f"sqlite:///{tmp_path / 'store.db'}"
    store = open_store(url)
    search = submit_search(store, check_search(spec, url))
    with closing(make_dispatcher(spec, url, inline=True)) as dispatcher:
        assert run_search(store, search.id, dispatcher) == "finished"
    best = store.candidates(search.id)[-1]
    assert spec.models[0] in best.recipe.all_models()
    out = export_candidate(store, best, tmp_path / "out")
    assert read_index(out).num_parameters == read_index(Path(spec.base_model)).num_parameters


def test_an_edited_adapter_is_another_model_to_a_search(spec, adapter):
    before = preflight(spec).scope
    file = adapter / "adapter_config.json"
    text = file.read_text()
    file.write_text(json.dumps({**json.loads(text), "lora_alpha": 7}))
    try:
        assert preflight(spec).scope != before
    finally:
        file.write_text(text)
