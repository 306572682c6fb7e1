"""Experts that are adapters, or have other vocabularies: checked, merged in place, scored, exported."""

import json
import shutil
import sys
from contextlib import closing
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from evomerge.evaluation.models import base_only, model_folders
from evomerge.evaluation.self_test import canary_prompts, reference
from evomerge.export.candidates import complete, export_candidate
from evomerge.layout import read_index
from evomerge.preflight import preflight
from evomerge.recipe import Tokenizer
from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.spec import SearchSpec
from evomerge.store import open_store
from tests.evaluation.conftest import make_spec
from tests.evaluation.test_against_fresh_engines import run
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


def live(spec, folder):
    """Canary log-probabilities of the base and of the first model, from a live engine."""
    (folder / "spec.json").write_text(spec.model_dump_json())
    run([sys.executable, "-m", "tests.evaluation.one_model_live", str(folder)])
    found = json.loads((folder / "found.json").read_text())
    return torch.tensor(found["base"]), torch.tensor(found["model"])


def test_a_worker_with_an_adapter_for_its_first_expert_proves_itself(spec, tmp_path):
    """The self-test holds the adapter, merged in place, against transformers."""
    plain, ours = live(spec, tmp_path)
    folders = model_folders(spec)
    prompts = canary_prompts(Path(folders[spec.base_model]))
    theirs = torch.tensor(reference(spec, folders, "float32", prompts))
    assert (ours - theirs).abs().max() < 1e-3
    assert (ours - plain).abs().max() > 0.05


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


@pytest.fixture(scope="module")
def foreign(models, tmp_path_factory) -> Path:
    """The second expert with its tokens in another order, and two more."""
    folder = tmp_path_factory.mktemp("foreign") / "other"
    shutil.copytree(models["two"], folder)
    content = json.loads((folder / "tokenizer.json").read_text())
    tokens = content["model"]["vocab"]
    rows = len(tokens)
    ids = {token: rows - 1 - place + 2 for token, place in tokens.items()}
    content["model"]["vocab"] = {"new1": 0, "new2": 1, **ids}
    for token in content["added_tokens"]:
        token["id"] = ids[token["content"]]
    (folder / "tokenizer.json").write_text(json.dumps(content))
    weights = load_file(folder / "model.safetensors")
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        moved = torch.randn(rows + 2, weights[name].shape[1])
        for token, place in tokens.items():
            moved[ids[token]] = weights[name][place]
        weights[name] = moved
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": rows + 2}))
    return folder


@pytest.mark.slow
def test_an_expert_with_another_vocabulary_is_searched_in_the_bases(
    models, foreign, spec, tmp_path, monkeypatch
):
    """Its rows stand where the base's tokens do: the search cannot tell it from the original."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    spec = spec.model_copy(update={"models": (str(foreign), models["one"])})
    (note,) = preflight(spec).notes
    assert str(foreign) in note
    assert "token by token" in note
    _, found = live(spec, tmp_path)
    original = spec.model_copy(update={"models": (models["two"],)})
    prompts = canary_prompts(Path(models["base"]))
    wanted = reference(original, model_folders(original), "float32", prompts)
    assert (found - torch.tensor(wanted)).abs().max() < 1e-3


def test_an_exported_candidate_says_that_its_rows_were_aligned(models, foreign):
    recipe = base_only(str(foreign)).model_copy(update={"base_model": models["base"]})
    assert complete(recipe).tokenizer == Tokenizer(source="base")
    assert complete(base_only(models["two"])) == base_only(models["two"])
