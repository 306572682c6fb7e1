"""mergekit-evolve on a machine without a GPU, every score written down: run by `benchmarks.evolve_peer`.

    PEER/bin/python benchmarks/evolve_peer_runner.py RECORD.jsonl SEED CPU_SECONDS \
        [arguments of mergekit-evolve]

Imports nothing of evomerge: it runs in an environment that holds mergekit. mergekit's files are left as
they are; what it needs here is patched at run time, each patch a function below with its reason. Merging,
evaluation, actors, CMA-ES and its settings are mergekit's own.
"""

import json
import math
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any


def name_vllm_wrapper() -> None:
    """mergekit names lm-eval's vLLM wrapper in annotations also where Hugging Face answers; lm-eval
    0.4.13 no longer loads that module by itself, and loading it needs vLLM."""
    import lm_eval.models
    import lm_eval.models.huggingface

    stub = types.ModuleType("lm_eval.models.vllm_causallms")
    stub.VLLM = type("VLLM", (), {})  # type: ignore[attr-defined]
    sys.modules[stub.__name__] = stub
    lm_eval.models.vllm_causallms = stub


def give_cpu_a_cache() -> None:
    """Its actors empty the accelerator's cache before each candidate; torch.cpu has none."""
    import torch

    torch.cpu.empty_cache = lambda: None  # type: ignore[attr-defined]


def evaluate_on_cpu() -> None:
    """It names no device, and lm-eval then takes "cuda"."""
    import functools

    import lm_eval

    lm_eval.simple_evaluate = functools.partial(lm_eval.simple_evaluate, device="cpu")


def patch_process() -> None:
    """What every process of the search needs: this one and Ray's workers."""
    import os

    name_vllm_wrapper()
    give_cpu_a_cache()
    evaluate_on_cpu()
    os.environ["TQDM_DISABLE"] = "1"


def fake_gpu() -> None:
    """Its actors ask Ray for a GPU each."""
    import ray

    ray.init(
        address="local",
        num_cpus=2,
        num_gpus=1,
        include_dashboard=False,
        log_to_driver=False,
        runtime_env={"worker_process_setup_hook": patch_process},
    )


class Recorder:
    """Candidates one at a time through its own pool of one actor; each score with its time.

    The first candidate is scored once before the clock starts, so that starting the actor, which loads
    torch and lm-eval, is given to it. CPU seconds are those of all processes of the search.
    """

    def __init__(self, file: Path, cpu_seconds: float) -> None:
        from mergekit.evo import strategy

        self._file, self._budget = file, cpu_seconds
        self._evaluate = strategy.ActorPoolEvaluationStrategy.evaluate_genotypes
        self._clock = self._cpu = float("nan")

    def __call__(self, strategy: Any, genotypes: list[Any]) -> list[dict[str, Any]]:
        """Stands in for `evaluate_genotypes`; the end of the budget is mergekit's own Ctrl-C."""
        if math.isnan(self._clock):
            self._evaluate(strategy, [genotypes[0]])
            self._clock, self._cpu = time.monotonic(), cpu_seconds()
        return [self._one(strategy, genotype) for genotype in genotypes]

    def _one(self, strategy: Any, genotype: Any) -> dict[str, Any]:
        (result,) = self._evaluate(strategy, [genotype])
        spent = cpu_seconds() - self._cpu
        if spent > self._budget:
            raise KeyboardInterrupt
        line = {
            "seconds": time.monotonic() - self._clock,
            "cpu_seconds": spent,
            "score": result["score"],
            "recipe": strategy.genome.genotype_merge_config(genotype).to_yaml(),
        }
        with self._file.open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        return dict(result)


def cpu_seconds() -> float:
    """Of this process and everything below it: Ray and its actors."""
    import psutil

    me = psutil.Process()
    times = [process.cpu_times() for process in (me, *me.children(recursive=True))]
    return sum(one.user + one.system for one in times)


def record_scores(file: Path, budget: float) -> None:
    """Put the recorder in the pool's place."""
    from mergekit.evo import strategy

    recorder = Recorder(file, budget)

    def evaluate_genotypes(self: Any, genotypes: list[Any]) -> list[dict[str, Any]]:
        return recorder(self, genotypes)

    strategy.ActorPoolEvaluationStrategy.evaluate_genotypes = evaluate_genotypes


def seed_search(seed: int) -> None:
    """It draws CMA-ES's seed from the clock; given one, a run can be made again."""
    import cma

    search: Callable[..., Any] = cma.fmin2

    def seeded(*args: Any, options: dict[str, Any], **kwargs: Any) -> Any:
        return search(*args, options={**options, "seed": seed + 1}, **kwargs)

    cma.fmin2 = seeded


def main() -> None:
    """Patch, then hand over to mergekit-evolve's own command."""
    record, seed, budget, arguments = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4:]
    patch_process()
    fake_gpu()
    record_scores(Path(record), float(budget))
    seed_search(seed)
    from mergekit.scripts import evolve

    evolve.main(arguments)


if __name__ == "__main__":
    main()
