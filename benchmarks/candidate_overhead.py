"""What a candidate costs besides its model forward passes, ours against mergekit and lm-eval.

    python benchmarks/candidate_overhead.py --mergekit /path/to/venv/bin/mergekit-yaml

Ours: merge into the live engine, cache reset, scheduling, lm-eval's scoring; everything between the
recipe and its stored outcomes but the time inside the model's forward pass and output head.
Theirs: `mergekit-yaml` writes the same merge to disk, then the lm-eval CLI starts a vLLM engine on it
and scores the same documents; everything but the whole time inside `LLM.generate` (which includes
scheduling: the peer gets more taken off than we do). The engine runs in the CLI's own process, eager
and with a small KV cache: the fastest start there is.
Both in the same run, one after the other, several times; medians.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

from evomerge.fitness import Split  # noqa: E402
from evomerge.recipe import Recipe, to_config  # noqa: E402
from tests.evaluation import tiny  # noqa: E402
from tests.evaluation.conftest import make_spec, merge  # noqa: E402

TASKS = ("letters", "words", "say")
KV_BYTES = 64 << 20


def ours(evaluator: Any, recipe: Recipe) -> dict[str, float]:
    """One candidate in the live engine."""
    start, cpu = time.perf_counter(), time.process_time()
    costs = evaluator.evaluate(recipe, Split.SEARCH).costs
    total = time.perf_counter() - start
    return {
        "total": total,
        "cpu": time.process_time() - cpu,
        "merge": costs.merge_seconds,
        "load": costs.load_seconds,
        "forward": costs.forward_seconds,
        "rest": costs.overhead_seconds,
        "outside_forward": total - costs.forward_seconds,
    }


def theirs(mergekit: str, recipe: Recipe, tasks: Path, folder: Path) -> dict[str, float]:
    """The same candidate through a checkpoint on disk and a fresh engine."""
    folder.mkdir()
    (folder / "config.yml").write_text(json.dumps(to_config(recipe)))
    before = _children_cpu()
    merge_seconds = _run([mergekit, str(folder / "config.yml"), str(folder / "merged")])
    model = f"pretrained={folder / 'merged'},dtype=float32,enforce_eager=True"
    score_seconds = _run(
        [
            *(sys.executable, str(ROOT / "benchmarks/timed_lm_eval.py"), str(folder / "seconds")),
            *("run", "--model", "vllm", "--log_samples", "--include_path", str(tasks)),
            *("--model_args", f"{model},kv_cache_memory_bytes={KV_BYTES}"),
            *("--tasks", ",".join(TASKS), "--output_path", str(folder / "out")),
        ]
    )
    forward = float((folder / "seconds").read_text())
    return {
        "total": merge_seconds + score_seconds,
        "cpu": _children_cpu() - before,
        "merge": merge_seconds,
        "engine_and_lm_eval": score_seconds - forward,
        "forward": forward,
        "outside_forward": merge_seconds + score_seconds - forward,
    }


def _run(command: list[str]) -> float:
    settings = {"VLLM_ENABLE_V1_MULTIPROCESSING": "0", "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    environment = {k: v for k, v in os.environ.items() if k != "TQDM_DISABLE"} | settings
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{command[0]} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return time.perf_counter() - start


def _children_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(options: argparse.Namespace, folder: Path) -> dict[str, Any]:
    """Both sides, interleaved."""
    from evomerge.evaluation import make_evaluator

    models = tiny.write_models(folder / "models", hidden=options.hidden, layers=options.layers)
    tasks = tiny.write_tasks(folder / "tasks", options.documents)
    whole = {"search": 1, "validation": 0, "test": 0}
    evaluator: Any = make_evaluator(make_spec(models, tasks, TASKS, splits=whole))
    ours(evaluator, merge(models, 0.2, 0.2))
    mine, peer = [], []
    for number in range(options.repeats):
        recipe = merge(models, 0.3 + 0.1 * number, 0.5)
        peer.append(theirs(options.mergekit, recipe, tasks, folder / f"peer{number}"))
        mine.append(ours(evaluator, recipe))
    evaluator.close()
    found = {"ours": _medians(mine), "theirs": _medians(peer)}
    ratio = found["theirs"]["outside_forward"] / found["ours"]["outside_forward"]
    shape = {"hidden": options.hidden, "layers": options.layers, "documents": options.documents}
    return {**found, "ratio": ratio, "repeats": options.repeats, "model": shape}


def _medians(rows: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(row[key] for row in rows) for key in rows[0]}


def main() -> None:
    """Print the parts, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mergekit", required=True, help="path of mergekit-yaml")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--documents", type=int, default=200, help="of each of the three tasks")
    parser.add_argument("--hidden", type=int, default=128)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = measure(options, Path(folder))
    if options.json:
        print(json.dumps(found, indent=2))
        return
    for side in ("ours", "theirs"):
        parts = ", ".join(f"{name} {value:.3f}" for name, value in found[side].items())
        print(f"{side:>7}: {parts} (seconds, median of {found['repeats']})")
    print(f"outside forward passes: {found['ratio']:.0f} times less than mergekit + fresh engine")


if __name__ == "__main__":
    main()
