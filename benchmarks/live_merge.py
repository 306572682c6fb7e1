"""The weight change of one candidate against memory copies that move as many bytes, in the same run.

On the models of `benchmarks.merge_speed` (1.1 B parameters in bf16, base and three experts, mapped
files). Measured is `MergeSource.merge_into`, which a live engine's worker calls with its own parameters:
what the method reads is read, the merged weights are written in place over 2.2 GB of existing memory.
Every candidate has other weights and densities; what a search measures once (cuts for all densities,
norms, angles, ranks within rows: see `first`) is measured before.

The floor is a copy (`Tensor.copy_`, mapped file to the same memory) of half as many bytes as the merge
reads and writes together: a copy reads and writes each of its bytes. Medians over the rounds, in each of
which copy and merge take turns.

    python -m benchmarks.live_merge --folder /tmp/merge_speed [--threads 1 2] [--rounds 5]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.merge_speed import MODELS, make_models, shapes
from evomerge.recipe import Recipe, Source, constant

LIMIT = 2.0
READS = {"linear": 3, "slerp": 2}
"""How many models a method reads, where it is not all four."""
DENSITY = {"ties": 0.3, "dare_ties": 0.5, "della": 0.5, "breadcrumbs": 0.5}
METHODS = (
    "linear",
    "task_arithmetic",
    "slerp",
    "model_stock",
    "ties",
    "dare_ties",
    "breadcrumbs",
    "della",
)


def recipe(method: str, number: int) -> Recipe:
    """Candidate `number`: each has other values."""
    if method == "slerp":
        return Recipe(
            merge_method="slerp",
            base_model="a",
            models=(Source(model="a"), Source(model="b")),
            parameters={"t": constant(0.3 + 0.001 * number)},
        )
    sources = []
    for model, weight in (("a", 0.5), ("b", 0.3), ("c", 0.2)):
        own = {} if method == "model_stock" else {"weight": constant(weight + 0.001 * number)}
        if method in DENSITY:
            own["density"] = constant(round(DENSITY[method] + 0.001 * number, 3))
        sources.append(Source(model=model, parameters=own))
    scaled = {"t_scale": constant(1 + 0.001 * number)} if method == "model_stock" else {}
    base = None if method == "linear" else "base"
    return Recipe(merge_method=method, base_model=base, models=tuple(sources), parameters=scaled)


def measure(folder: Path, method: str, rounds: int) -> dict[str, float]:
    """Median seconds of merge and copy, wall and CPU, and of the first merge; in this process."""
    import torch

    from evomerge.merging.merge import MergeSource
    from evomerge.merging.statistics import StatisticsCache

    paths = {name: folder / name for name in MODELS}
    source = MergeSource(paths, fused=True, cache=StatisticsCache(on_disk=False))
    parameters = {n: torch.zeros(s, dtype=torch.bfloat16) for n, s in shapes().items()}
    models = [dict(source.checkpoints[name].tensors()) for name in MODELS]
    reads = READS.get(method, 4)

    def copy() -> None:
        """(reads + 1) / 2 models."""
        for model in models[: (reads + 1) // 2]:
            for name, tensor in model.items():
                parameters[name].copy_(tensor)
        if reads % 2 == 0:
            for name, tensor in models[-1].items():
                half = tensor.shape[0] // 2
                parameters[name][:half].copy_(tensor[:half])

    candidates: Iterator[Recipe] = (recipe(method, number) for number in range(1, rounds + 3))
    started = time.perf_counter()
    source.merge_into(recipe(method, 0), parameters.get)
    first = time.perf_counter() - started
    jobs: dict[str, Callable[[], object]] = {
        "copy": copy,
        "merge": lambda: source.merge_into(next(candidates), parameters.get),
    }
    times: dict[str, list[float]] = {}
    for number in range(rounds + 1):
        for name, job in jobs.items():
            started, busy = time.perf_counter(), time.process_time()
            job()
            if number:
                times.setdefault(name, []).append(time.perf_counter() - started)
                times.setdefault(f"{name} cpu", []).append(time.process_time() - busy)
    medians = {name: statistics.median(values) for name, values in times.items()}
    size = sum(x.nbytes for x in parameters.values())
    return {**medians, "first": first, "moved": float(size * (reads + 1))}


def show(method: str, found: dict[str, float]) -> None:
    """One line of the table."""
    wall, busy = found["merge"] / found["copy"], found["merge cpu"] / found["copy cpu"]
    verdict = "kept" if wall <= LIMIT else "missed"
    print(
        f"  {method:16s} {found['copy'] * 1e3:8.0f} {found['merge'] * 1e3:8.0f} {wall:7.2f}x "
        f"{busy:7.2f}x {found['moved'] / found['merge'] / 1e9:6.1f} {found['first']:7.1f}  {verdict}",
        flush=True,
    )


def main() -> None:
    """Each method in a fresh process, for each number of threads."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="with merge_speed's models")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.folder, options.one, options.rounds)))
        return
    make_models(options.folder)
    for threads in options.threads:
        print(f"\n{threads} thread(s); limit {LIMIT:g} x the copy")
        print(
            f"  {'':16s} {'copy ms':>8s} {'merge ms':>8s} {'wall':>8s} {'CPU':>8s} {'GB/s':>6s} "
            f"{'first s':>7s}"
        )
        for method in options.methods:
            command = [sys.executable, "-m", "benchmarks.live_merge", "--one", method]
            command += ["--folder", str(options.folder), "--rounds", str(options.rounds)]
            environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
            show(method, json.loads(done.stdout.splitlines()[-1]))


if __name__ == "__main__":
    main()
