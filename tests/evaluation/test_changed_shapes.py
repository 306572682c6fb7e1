"""Models that a merge gave other shapes answer in a plain vLLM as they do in transformers."""

import json
import sys

import numpy as np
import pytest
import torch

from evomerge.evaluation.calibrated import calibrate
from evomerge.evaluation.calibration_works import works_of_file
from evomerge.evaluation.self_test import canary_prompts
from evomerge.merging.offline import merge_config
from evomerge.zoo.tokenizer import VOCABULARY, make_tokenizer
from tests.alignment.networks import load, make
from tests.evaluation.test_against_fresh_engines import run

pytestmark = [pytest.mark.engine, pytest.mark.slow]
SIZES = {"hidden_size": 128, "intermediate_size": 128, "vocab_size": len(VOCABULARY)}
SMALLER = {"router": "reduce", "allocation": "layer"}
CASES = {
    "half of Mixtral's experts": ("mixtral", "m_smoe", {**SMALLER, "keep": 0.5}),
    "half of Mixtral's experts, half as wide": (
        "mixtral",
        "m_smoe",
        {**SMALLER, "keep": 0.5, "hidden": 0.5},
    ),
    "Mixtral's experts, half as wide": ("mixtral", "m_smoe", {"keep": 1.0, "hidden": 0.5}),
    "half of Qwen-MoE's experts, half as wide": (
        "qwen_moe",
        "m_smoe",
        {**SMALLER, "keep": 0.5, "hidden": 0.5},
    ),
    "a Llama with more heads and hidden units": (
        "llama",
        "pleas",
        {"ratio": 0.5, "matching": "activations"},
    ),
    "a Llama within a budget": ("llama", "pleas", {"budget": 1.4, "least_squares": False}),
}


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def merged(tmp_path, family, method, parameters):
    """A random model, or two, merged with a change of shapes; the folder."""
    names = ["one", "two"] if method == "pleas" else ["one"]
    more = {"moe_intermediate_size": 128} if family == "qwen_moe" else {}
    for seed, name in enumerate(names):
        make(family, tmp_path / name, seed, **SIZES, **more)
        make_tokenizer(64).save_pretrained(str(tmp_path / name))
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(list("abcdefgh"), 12)) for _ in range(30)]
    (tmp_path / "texts.txt").write_text("\n".join(texts))
    config = {
        "merge_method": method,
        "models": [{"model": name} for name in names],
        "dtype": "float32",
        "calibration": "texts.txt",
        "parameters": parameters,
    }
    (tmp_path / "merge.yml").write_text(json.dumps(config))
    for work in works_of_file(tmp_path / "merge.yml", ()):
        calibrate(work, device="cpu")
    merge_config(tmp_path / "merge.yml", tmp_path / "out")
    return tmp_path / "out"


@pytest.mark.parametrize("case", CASES)
def test_log_probabilities_are_those_of_transformers(case, tmp_path):
    family, method, parameters = CASES[case]
    out = merged(tmp_path, family, method, parameters)
    before, after = (json.loads((tmp_path / n / "config.json").read_text()) for n in ("one", "out"))
    assert before != after
    prompts = torch.tensor(canary_prompts(out))
    with torch.inference_mode():
        logits = load(family, out)(prompts).logits[:, :-1]
    expected = logits.log_softmax(-1).gather(-1, prompts[:, 1:, None])[..., 0]
    script = [sys.executable, "-m", "tests.evaluation.plain_engine"]
    run([*script, str(out), str(tmp_path / "found")], VLLM_CPU_OMP_THREADS_BIND="nobind")
    found = torch.tensor(json.loads((tmp_path / "found").read_text()))
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 2e-3
