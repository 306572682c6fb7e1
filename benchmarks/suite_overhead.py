"""CPU seconds per candidate that lm-eval's scoring costs outside the engine: three tasks of 200 documents.

    python benchmarks/suite_overhead.py

The suite is given recorded answers instead of an engine, so what is measured is exactly what comes
after the engine: handing out answers, lm-eval's filters, `process_results` and aggregation, margins.
Beside it: `lm_eval.simple_evaluate` on the same answers.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["TQDM_DISABLE"] = "1"

from evomerge.evaluation.suite import Answers, TaskSuite  # noqa: E402
from evomerge.fitness import Split  # noqa: E402
from tests.evaluation import tiny  # noqa: E402
from tests.evaluation.conftest import make_spec  # noqa: E402

TASKS = ("letters", "words", "say")


class Recorded:
    """Answers made up once, at once given back."""

    def plan(self, instances: Sequence[Any]) -> "Recorded":
        """One answer for each instance, of its kind."""
        rng = random.Random(0)
        self.responses = [_answer(one, rng) for one in instances]
        return self

    def run(self) -> Answers:
        return Answers(self.responses, 0.0, 0)

    def apply_chat_template(self, history: Any, add_generation_prompt: bool = True) -> str:
        raise NotImplementedError


def _answer(instance: Any, rng: random.Random) -> Any:
    if instance.request_type == "generate_until":
        return f" {rng.choice(tiny.WORDS)} {rng.choice(tiny.WORDS)}"
    return (-10 * rng.random(), rng.random() < 0.3)


def simple_evaluate(tasks: Path) -> float:
    """CPU seconds of lm-eval's own run on made-up answers; its tasks are loaded beforehand."""
    import lm_eval
    from lm_eval.api.model import LM
    from lm_eval.tasks import TaskManager

    class Answering(LM):
        def loglikelihood(self, requests: Any) -> Any:
            rng = random.Random(0)
            return [_answer(one, rng) for one in requests]

        generate_until = loglikelihood
        loglikelihood_rolling = loglikelihood

    manager = TaskManager(include_path=str(tasks), include_defaults=False)
    loaded = manager.load(list(TASKS))
    start = time.process_time()
    lm_eval.evaluate(Answering(), loaded, bootstrap_iters=0, log_samples=True)
    return time.process_time() - start


def main() -> None:
    """Print the median of several candidates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--documents", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tasks = tiny.write_tasks(Path(folder) / "tasks", options.documents)
        models = {name: name for name in ("base", "one", "two")}
        whole = {"search": 1, "validation": 0, "test": 0}
        suite = TaskSuite(make_spec(models, tasks, TASKS, splits=whole).objective, Recorded())
        suite.score(Split.SEARCH)
        seconds = [_timed(suite) for _ in range(options.repeats)]
        peer = statistics.median(simple_evaluate(tasks) for _ in range(3))
    found = {"ours": statistics.median(seconds), "simple_evaluate": peer, "goal": 0.05}
    if options.json:
        print(json.dumps(found, indent=2))
    else:
        print(", ".join(f"{name} {value:.4f}" for name, value in found.items()), "(CPU seconds)")


def _timed(suite: TaskSuite) -> float:
    start = time.process_time()
    suite.score(Split.SEARCH)
    return time.process_time() - start


if __name__ == "__main__":
    main()
