"""What it costs to ask a split in blocks instead of in one call, on a live vLLM engine.

    python -m benchmarks.block_overhead

The same recipe on the same documents, cut into 1, 5, 10 and 20 blocks, one after the other, several
times; the fastest of each, as everything slower is somebody else's work on the machine. Forward seconds
grow too: batches are smaller, and generation waits for the longest answer of each block. Last line: how
long a worker thinks about a race after a block.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TQDM_DISABLE", "1")

from evomerge.fitness import EvaluationResult, Split
from evomerge.racing import Layout, Race, RacePlan
from tests.evaluation import tiny
from tests.evaluation.conftest import make_spec, merge

TASKS = {"letters": "acc", "words": "acc", "say": "exact_match,whole"}
BLOCKS = (1, 5, 10, 20)


def main() -> None:
    """Print a row for each number of blocks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--documents", type=int, default=300, help="of each of the three tasks")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--hidden", type=int, default=256)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder), options)
    print(f"judging a race over {3 * options.documents} documents: {1000 * judging(result):.1f} ms")


def measure(folder: Path, options: argparse.Namespace) -> EvaluationResult:
    """Time every number of blocks; returns one result."""
    from evomerge.evaluation import make_evaluator
    from evomerge.evaluation.suite import TaskSuite

    models = tiny.write_models(folder / "models", hidden=options.hidden)
    tasks = tiny.write_tasks(folder / "tasks", options.documents)
    whole = {"search": 1, "validation": 0, "test": 0}
    spec = make_spec(models, tasks, TASKS, splits=whole, engine={"kv_cache_gib": 0.25})
    evaluator: Any = make_evaluator(spec)
    suites = {n: TaskSuite(spec.objective, evaluator._model, Layout(n, 0)) for n in BLOCKS}
    best: dict[int, tuple[float, float]] = {}
    for _ in range(options.repeats):
        for number, suite in suites.items():
            evaluator.apply(merge(models))
            suite.prepare(Split.SEARCH, Layout(number, 0))
            start = time.perf_counter()
            result = suite.score(Split.SEARCH)
            took = time.perf_counter() - start, result.costs.forward_seconds
            best[number] = min(best.get(number, took), took)
    for number, (total, forward) in best.items():
        print(f"{number:>3} blocks: {total:.3f} s, of which {forward:.3f} s forward passes")
    evaluator.close()
    return result


def judging(result: EvaluationResult, repeats: int = 20) -> float:
    """Seconds for one judgement when everything is answered, the longest there is."""
    race = Race(RacePlan(result.outcomes, TASKS, dict.fromkeys(TASKS, 1 / 3), 0.05, 10, 0))
    start = time.perf_counter()
    for _ in range(repeats):
        race.is_out(result.outcomes)
    return (time.perf_counter() - start) / repeats


if __name__ == "__main__":
    main()
