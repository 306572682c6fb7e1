"""`evomerge run` over methods that change a model's structure, from a search file to a model in a folder."""

import json
import sys
from contextlib import closing

import pytest
import torch
from ruamel.yaml import YAML

from evomerge.export.candidates import export_candidate
from evomerge.merging.grouped import load_grouped
from evomerge.store import open_store
from tests.alignment.networks import answers, load, make
from tests.evaluation import tiny
from tests.evaluation.test_against_fresh_engines import run

pytestmark = [pytest.mark.engine, pytest.mark.slow]
WIDE = {"hidden_size": 128, "intermediate_size": 128, "max_position_embeddings": 512}
CASES = {
    "pleas, widths searched": (
        "llama",
        "hf",
        {"method": "pleas", "matching": {"choice": ["weights", "activations"]}},
        {"ratio": {"range": [0.25, 0.5]}},
    ),
    "pleas, importance searched within a budget": (
        "llama",
        "hf",
        {"method": "pleas", "budget": 1.5, "least_squares": False},
        {
            "importance": {
                "range": [0.1, 10.0],
                "scale": "log",
                "per": ["filter"],
                "filters": {"mlp": "mlp", "rest": "*"},
            }
        },
    ),
    "m_smoe, experts narrowed": (
        "mixtral",
        "hf",
        {"method": "m_smoe", "router": "reduce", "allocation": "layer", "keep": 0.5},
        {"hidden": {"range": [0.4, 0.6]}},
    ),
    "m_smoe, groups searched with the router kept": (
        "mixtral",
        "hf",
        {"method": "m_smoe"},
        {"keep": {"range": [0.25, 0.75]}, "usage_power": {"range": [0.0, 2.0]}},
    ),
}


def searched(tmp_path, family, engine, fixed, genes):
    """The store after a search of three candidates, run from a file by the command line."""
    size = tiny.write_tokenizer(tmp_path / "tokenizer")
    names = ["base", "one", "two"] if family == "llama" else ["base", "one"]
    for seed, name in enumerate(names):
        folder = make(family, tmp_path / name, seed, **WIDE, vocab_size=size)
        tiny.write_tokenizer(folder)
    spec = {
        "name": "structure",
        "base_model": str(tmp_path / "base"),
        "models": [str(tmp_path / name) for name in names[1:]],
        "space": {**fixed, **genes},
        "objective": {
            "include_path": str(tiny.write_tasks(tmp_path / "tasks")),
            "tasks": [{"task": "letters"}],
            "splits": {"search": 0.4, "validation": 0.3, "test": 0.3},
        },
        "strategy": {"name": "random", "asynchronous": False},
        "budget": {"candidates": 3},
        "engine": {"name": engine, "dtype": "float32", "kv_cache_gib": 0.06},
    }
    with (tmp_path / "search.yml").open("w") as stream:
        YAML().dump(spec, stream)
    url = f"sqlite:///{tmp_path / 'store.db'}"
    start = [sys.executable, "-m", "evomerge", "run", str(tmp_path / "search.yml"), "--inline"]
    run(
        [*start, "--store", url, "--search-id", "structure"],
        XDG_CACHE_HOME=str(tmp_path / "cache"),
        HF_HUB_OFFLINE="1",
        VLLM_CPU_OMP_THREADS_BIND="nobind",
    )
    return open_store(url)


@pytest.mark.parametrize("case", CASES)
def test_a_search_scores_every_candidate_and_its_recipe_gives_a_model(case, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    family, engine, fixed, genes = CASES[case]
    with closing(searched(tmp_path, family, engine, fixed, genes)) as store:
        own = [c for c in store.candidates("structure") if c.recipe.merge_method == fixed["method"]]
        scored = {e.candidate_id for e in store.evaluations("structure") if e.fitness is not None}
        assert len(own) >= 3
        assert {candidate.id for candidate in own} <= scored
        out = export_candidate(store, own[-1], tmp_path / "out")
    config = json.loads((out / "config.json").read_text())
    model = load(family, out)
    assert answers(model).isfinite().all()
    if "ratio" in genes:
        assert 128 * 1.25 <= config["intermediate_size"] <= 128 * 1.5
    if "budget" in fixed:
        counts = [
            sum(x.numel() for x in load(family, tmp_path / n).parameters()) for n in ("one", "out")
        ]
        assert 1.2 < counts[1] / counts[0] <= 1.5
    if "hidden" in genes:
        assert config["num_local_experts"] == 2
        assert 128 * 0.4 <= config["intermediate_size"] <= 128 * 0.6 + 16
    if "keep" in genes:
        _same_when_grouped(own[-1].recipe, model, tmp_path)


def _same_when_grouped(recipe, model, tmp_path):
    """The winner of a search with the router kept, written small, computes the same."""
    from evomerge.merging.offline import merge_to_folder
    from evomerge.recipe import constant

    changed = {**recipe.parameters, "form": constant("grouped")}
    small = recipe.model_copy(update={"parameters": changed})
    merge_to_folder(small, tmp_path / "small")
    assert torch.allclose(answers(load_grouped(tmp_path / "small")), answers(model), atol=1e-4)
    sizes = [(tmp_path / n / "model.safetensors").stat().st_size for n in ("small", "out")]
    assert sizes[0] < sizes[1]
