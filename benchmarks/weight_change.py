"""The weight change of one candidate against memory copies of the same bytes, in the same run.

A synthetic Llama of about 100 M parameters in bf16, base and three experts, TIES at density 0.3 with
three different weights. Measured is `MergeSource.merge_into`: three memory-mapped experts and a base
are read, the merged weights are written in place over existing parameter tensors, thresholds warm
(measured once in a worker's life), the kernel compiled. Three copies to compare with, each of the
same kind of memory (mapped file to existing tensor, `Tensor.copy_`):

  copy of what is read      base + 3 experts, 4 N bytes, copied (reads 4 N and writes 4 N)
  copy moving as much       2.5 N bytes copied: reads 2.5 N + writes 2.5 N = the merge's 4 N read + N written
  copy of what is written   N bytes (for scale: what a plain reload of one model costs)

N is the size of one model. Medians over the rounds; each round runs merge and copies in turn. Both
wall time and CPU time (of all threads) are shown: on a machine that others use, CPU time is the
steadier of the two. The limit is judged on wall time.

    python -m benchmarks.weight_change [--threads 1 2] [--rounds 15]
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

LIMIT = 3.0
SHAPE = {"hidden": 768, "inner": 2048, "layers": 10, "vocabulary": 16000}


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of a Llama with untied head."""
    hidden, inner, vocabulary = SHAPE["hidden"], SHAPE["inner"], SHAPE["vocabulary"]
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for layer in range(SHAPE["layers"]):
        place = f"model.layers.{layer}"
        for name in "qkvo":
            found[f"{place}.self_attn.{name}_proj.weight"] = (hidden, hidden)
        for name in ("gate", "up"):
            found[f"{place}.mlp.{name}_proj.weight"] = (inner, hidden)
        found[f"{place}.mlp.down_proj.weight"] = (hidden, inner)
        found[f"{place}.input_layernorm.weight"] = (hidden,)
        found[f"{place}.post_attention_layernorm.weight"] = (hidden,)
    return {**found, "model.norm.weight": (hidden,), "lm_head.weight": (vocabulary, hidden)}


def make_models(folder: Path) -> dict[str, Path]:
    """Base and three experts: weights of std 0.02, deltas of std 0.001."""
    import torch
    from safetensors.torch import save_file

    base = {name: torch.randn(shape) * 0.02 for name, shape in shapes().items()}
    paths = {}
    for name in ("base", "a", "b", "c"):
        step = 0.0 if name == "base" else 1e-3
        model = {key: (x + step * torch.randn(x.shape)).bfloat16() for key, x in base.items()}
        paths[name] = folder / name
        paths[name].mkdir()
        save_file(model, paths[name] / "model.safetensors")
        (paths[name] / "config.json").write_text("{}")
    return paths


def measure(folder: Path, rounds: int) -> dict[str, float]:
    """Medians in seconds of the merge and of the copies; one process, its own thread count."""
    import torch

    from evomerge.merging.merge import MergeSource
    from evomerge.recipe import Recipe, Source, constant

    paths = {name: folder / name for name in ("base", "a", "b", "c")}
    source = MergeSource(paths, fused=True)

    def recipe(number: int) -> Recipe:
        weights = {"a": 0.5 + 0.01 * number, "b": 0.7, "c": 0.3}
        return Recipe(
            merge_method="ties",
            base_model="base",
            models=tuple(
                Source(model=m, parameters={"weight": constant(w), "density": constant(0.3)})
                for m, w in weights.items()
            ),
        )

    parameters = {n: torch.zeros(s, dtype=torch.bfloat16) for n, s in shapes().items()}
    models = [dict(source.checkpoints[name].tensors()) for name in paths]
    targets = [{n: torch.zeros_like(x) for n, x in parameters.items()} for _ in models]

    def copies(share: float) -> Callable[[], None]:
        whole, part = int(share), share - int(share)

        def run() -> None:
            for model, target in zip(models[:whole], targets, strict=False):
                for name, tensor in model.items():
                    target[name].copy_(tensor)
            if part:
                for name, tensor in models[whole].items():
                    rows = int(tensor.shape[0] * part)
                    targets[whole][name][:rows].copy_(tensor[:rows])

        return run

    started = time.perf_counter()
    source.merge_into(recipe(0), parameters.get)
    first = time.perf_counter() - started
    jobs: dict[str, Callable[[], object]] = {
        "copy_read": copies(4),
        "copy_moved": copies(2.5),
        "copy_written": copies(1),
    }
    candidates = map(recipe, range(1, rounds + 3))
    jobs["merge"] = lambda: source.merge_into(next(candidates), parameters.get)
    times: dict[str, list[float]] = {}
    for number in range(rounds + 2):
        for name, job in jobs.items():
            started, busy = time.perf_counter(), time.process_time()
            job()
            if number >= 2:
                times.setdefault(name, []).append(time.perf_counter() - started)
                times.setdefault(f"{name}_cpu", []).append(time.process_time() - busy)
    size = sum(x.nbytes for x in parameters.values())
    medians = {name: statistics.median(values) for name, values in times.items()}
    return {**medians, "first": first, "bytes": float(size)}


WORDS = {
    "merge": ("merge in place", 5.0),
    "copy_read": ("copy of what is read", 8.0),
    "copy_moved": ("copy moving as much", 5.0),
    "copy_written": ("copy of what is written", 2.0),
}
"""For each job what it is called, and how many times the size of one model it moves."""


def show(threads: int, found: dict[str, float]) -> bool:
    """Print one table; whether the merge kept within the limit."""
    size = found["bytes"]
    print(f"\n{threads} thread(s), one model {size / 1e6:.0f} MB, medians")
    print(f"  {'':24s} {'wall ms':>8s} {'merge /':>8s} {'CPU ms':>8s} {'merge /':>8s} {'GB/s':>6s}")
    for name, (words, moved) in WORDS.items():
        wall, busy = found[name], found[f"{name}_cpu"]
        print(
            f"  {words:24s} {wall * 1e3:8.1f} {found['merge'] / wall:7.2f}x {busy * 1e3:8.1f} "
            f"{found['merge_cpu'] / busy:7.2f}x {moved * size / wall / 1e9:6.1f}"
        )
    print(f"  first merge, compiling and measuring thresholds: {found['first']:.1f} s")
    for name in ("copy_read", "copy_moved"):
        verdict = "kept" if found["merge"] <= LIMIT * found[name] else "MISSED"
        print(f"  limit {LIMIT:g} x of the {WORDS[name][0]}: {verdict}")
    return found["merge"] <= LIMIT * found["copy_moved"]


def main() -> int:
    """Run the comparison in a fresh process for each thread count."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.folder:
        print(json.dumps(measure(options.folder, options.rounds)))
        return 0
    kept = True
    with tempfile.TemporaryDirectory() as folder:
        make_models(Path(folder))
        for threads in options.threads:
            command = [sys.executable, "-m", "benchmarks.weight_change", "--folder", folder]
            command += ["--rounds", str(options.rounds)]
            environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
            done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE)
            kept = show(threads, json.loads(done.stdout.splitlines()[-1])) and kept
    return 0 if kept else 1


if __name__ == "__main__":
    raise SystemExit(main())
