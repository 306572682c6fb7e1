"""Whole merges of a model of 1.1 B parameters: ours, mergekit's, and plain copies of the same bytes.

Makes a base and three experts in bf16 (the shapes of TinyLlama: 22 layers, hidden size 2048, 2.2 GB
each; random weights of std 0.02, deltas of std 0.001) unless they are there, and merges them by each
method, each merge in a process of its own, all models read just before it:

  copy     the bytes that the merge reads, read from files, and those that it writes, written to one
  write    `evomerge merge CONFIG OUT`, the whole command
  memory   the same without writing: tensor by tensor into memory that is used again
  mergekit `mergekit-yaml CONFIG OUT`, the whole command; for TIES also the same tasks without the
           ones that write

Cuts and norms are measured anew in every run: no table is kept between two merges. Peak memory is the
process's resident set (VmHWM: its own pages and those of mapped files), as the kernel counts it.

Needs mergekit 0.1.5 in an environment of its own (evomerge does not install it), 11 GB of disk and,
for mergekit, 13 GB of memory:

    python -m venv /tmp/mergekit && /tmp/mergekit/bin/pip install mergekit==0.1.5
    python -m benchmarks.merge_speed --folder /tmp/merge_speed --mergekit /tmp/mergekit/bin

Without --mergekit only ours and the copies are timed.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HIDDEN, INNER, LAYERS, VOCABULARY, KEYS = 2048, 5632, 22, 32000, 256
MODELS = ("base", "a", "b", "c")
ELEMENTWISE = ("linear", "task_arithmetic", "slerp", "dare_ties")
THREE = "models:\n" + "".join(
    f"  - {{model: {name}, parameters: {{weight: {weight}DENSITY}}}}\n"
    for name, weight in (("a", 0.5), ("b", 0.3), ("c", 0.2))
)


def config(method: str) -> str:
    """The YAML of one merge, the same for both tools."""
    density = {"ties": 0.3, "dare_ties": 0.5, "della": 0.5, "breadcrumbs": 0.5}.get(method)
    models = THREE.replace("DENSITY", "" if density is None else f", density: {density}")
    head = f"merge_method: {method}\ndtype: bfloat16\n"
    if method == "linear":
        return head + models
    if method == "slerp":
        return head + "base_model: a\nparameters: {t: 0.4}\nmodels: [{model: a}, {model: b}]\n"
    if method == "model_stock":
        return head + "base_model: base\nmodels: [{model: a}, {model: b}, {model: c}]\n"
    return head + "base_model: base\n" + models


METHODS = (
    "linear",
    "task_arithmetic",
    "ties",
    "dare_ties",
    "della",
    "breadcrumbs",
    "model_stock",
    "slerp",
)


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the model."""
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (VOCABULARY, HIDDEN)}
    for layer in range(LAYERS):
        place = f"model.layers.{layer}"
        for name, rows in (("q", HIDDEN), ("k", KEYS), ("v", KEYS), ("o", HIDDEN)):
            found[f"{place}.self_attn.{name}_proj.weight"] = (rows, HIDDEN)
        for name in ("gate", "up"):
            found[f"{place}.mlp.{name}_proj.weight"] = (INNER, HIDDEN)
        found[f"{place}.mlp.down_proj.weight"] = (HIDDEN, INNER)
        found[f"{place}.input_layernorm.weight"] = (HIDDEN,)
        found[f"{place}.post_attention_layernorm.weight"] = (HIDDEN,)
    return {**found, "model.norm.weight": (HIDDEN,), "lm_head.weight": (VOCABULARY, HIDDEN)}


MODEL_CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": HIDDEN,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 32,
    "num_key_value_heads": 4,
    "vocab_size": VOCABULARY,
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}


def make_models(folder: Path) -> None:
    """Base and experts, tensor by tensor."""
    import torch
    from safetensors.torch import save_file

    if (folder / "c" / "config.json").is_file():
        return
    weights: dict[str, dict[str, torch.Tensor]] = {name: {} for name in MODELS}
    generator = torch.Generator().manual_seed(0)
    for key, shape in shapes().items():
        base = torch.randn(shape, generator=generator) * 0.02
        for name in MODELS:
            step = 0.0 if name == "base" else 1e-3
            noise = torch.randn(shape, generator=generator) if step else 0.0
            weights[name][key] = (base + step * noise).bfloat16()
    for name in MODELS:
        (folder / name).mkdir(parents=True, exist_ok=True)
        save_file(weights[name], folder / name / "model.safetensors", metadata={"format": "pt"})
        (folder / name / "config.json").write_text(json.dumps(MODEL_CONFIG))
        weights[name].clear()


@dataclass(frozen=True)
class Run:
    """One process: wall and CPU seconds, peak resident memory in GB; `inner`: seconds it says."""

    wall: float
    cpu: float
    peak: float
    inner: float | None = None


def run(command: list[str], folder: Path) -> Run:
    """Run a command in `folder`, watching its memory."""
    before = os.times()
    started = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    peak = 0
    while process.poll() is None:
        peak = max(peak, _resident(process.pid))
        time.sleep(0.02)
    wall, after = time.perf_counter() - started, os.times()
    said = process.stdout.read() if process.stdout else ""
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed:\n{said[-3000:]}")
    cpu = after.children_user + after.children_system
    cpu -= before.children_user + before.children_system
    words = [line for line in said.splitlines() if line.startswith("seconds ")]
    return Run(wall, cpu, peak / 1e9, float(words[-1].split()[1]) if words else None)


def _resident(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def into_memory(folder: Path, method: str) -> float:
    """Seconds of one merge whose tensors are used and forgotten; in this process."""
    from evomerge.merging.merge import MergeSource
    from evomerge.merging.mergekit_yaml import load_recipe
    from evomerge.merging.statistics import StatisticsCache

    recipe = load_recipe(folder / f"{method}.yml")
    models = {name: folder / name for name in recipe.all_models()}
    cache = StatisticsCache(on_disk=False)
    started = time.perf_counter()
    with MergeSource(models, cache=cache, tables=False) as source:
        for _ in source.stream(recipe):
            pass
    return time.perf_counter() - started


MERGEKIT_IN_MEMORY = """
import sys, time, yaml
from mergekit.architecture import get_architecture_info
from mergekit.config import MergeConfiguration
from mergekit.graph import Executor
from mergekit.io.tasks import LoaderCache
from mergekit.merge import _model_out_config
from mergekit.options import MergeOptions
from mergekit.plan import MergePlanner
config = MergeConfiguration.model_validate(yaml.safe_load(open(sys.argv[1])))
options = MergeOptions()
architecture = get_architecture_info(config, options)
LoaderCache().setup(options=options)
started = time.perf_counter()
planner = MergePlanner(config, architecture, options=options,
                       out_model_config=_model_out_config(config, architecture))
planner._plan()  # plan_in_memory() of 0.1.5 cannot be instantiated
merged = [task for _, task in planner._tensors]
for _ in Executor(merged, math_device="cpu", storage_device="cpu").run(quiet=True):
    pass
print("seconds", time.perf_counter() - started)
"""


def warm(folder: Path) -> None:
    """Read all models, so that whatever ran before, they are in the page cache."""
    block = bytearray(8 << 20)
    for name in MODELS:
        with (folder / name / "model.safetensors").open("rb", buffering=0) as file:
            while file.readinto(block):
                pass


def copy(folder: Path, method: str) -> Run:
    """Read what the merge reads, write what it writes: wall seconds of both."""
    read = {"linear": MODELS[1:], "slerp": MODELS[1:3]}.get(method, MODELS)
    script = (
        "import os\n"
        "block = bytearray(8 << 20)\n"
        f"for name in {list(read)!r}:\n"
        "    with open(name + '/model.safetensors', 'rb', buffering=0) as file:\n"
        "        while file.readinto(block):\n"
        "            pass\n"
        "left = os.path.getsize('a/model.safetensors')\n"
        "with open('copy.bin', 'wb', buffering=0) as file:\n"
        "    while left > 0:\n"
        "        left -= file.write(memoryview(block)[:min(left, len(block))])\n"
        "    os.fsync(file.fileno())\n"
        "os.remove('copy.bin')\n"
    )
    return run([sys.executable, "-c", script], folder)


def ours(folder: Path, method: str) -> tuple[Run, Run]:
    """Our merge, written and not."""
    shutil.rmtree(folder / "ours", ignore_errors=True)
    command = [sys.executable, "-m", "evomerge", "merge", f"{method}.yml", "ours", "--quiet"]
    warm(folder)
    written = run(command, folder)
    shutil.rmtree(folder / "ours")
    warm(folder)
    again = [sys.executable, "-m", "benchmarks.merge_speed", "--into-memory", method]
    os.environ["PYTHONPATH"] = str(Path(__file__).parent.parent)
    return written, run([*again, "--folder", str(folder)], folder)


def theirs(folder: Path, method: str, mergekit: Path) -> tuple[Run, float | None]:
    """mergekit's merge; for TIES also the seconds of its in-memory plan."""
    shutil.rmtree(folder / "theirs", ignore_errors=True)
    options = ["--no-copy-tokenizer", "--no-write-model-card", "--quiet"]
    warm(folder)
    written = run([str(mergekit / "mergekit-yaml"), f"{method}.yml", "theirs", *options], folder)
    shutil.rmtree(folder / "theirs")
    if method != "ties":
        return written, None
    warm(folder)
    script = [str(mergekit / "python"), "-c", MERGEKIT_IN_MEMORY, f"{method}.yml"]
    return written, run(script, folder).inner


HEAD = (
    f"{'':16s} {'copy':>6s} {'write':>7s} {'/copy':>6s} {'memory':>7s} {'/copy':>6s} {'CPU s':>6s} "
    f"{'peak GB':>8s} | {'mergekit':>8s} {'/ours':>7s} {'peak GB':>8s} {'memory':>8s} {'/ours':>7s}"
)


def report(folder: Path, method: str, mergekit: Path | None) -> None:
    """One line of the table."""
    warm(folder)
    floor = copy(folder, method)
    written, held = ours(folder, method)
    assert held.inner is not None
    line = (
        f"{method:16s} {floor.wall:6.1f} {written.wall:7.1f} {written.wall / floor.wall:5.2f}x "
        f"{held.inner:7.2f} {held.inner / floor.wall:5.2f}x {written.cpu:6.1f} {written.peak:8.2f} |"
    )
    if mergekit is not None:
        their, seconds = theirs(folder, method, mergekit)
        line += f" {their.wall:8.1f} {their.wall / written.wall:6.1f}x {their.peak:8.2f}"
        if seconds is not None:
            line += f" {seconds:8.1f} {seconds / held.inner:6.1f}x"
    print(line, flush=True)


def main() -> None:
    """Make the models, print one line a method."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="for models and results")
    parser.add_argument("--mergekit", type=Path, help="the bin folder of mergekit's environment")
    parser.add_argument("--methods", nargs="+", default=METHODS, choices=METHODS)
    parser.add_argument("--into-memory", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.into_memory:
        print("seconds", into_memory(options.folder, options.into_memory))
        return
    folder = options.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    make_models(folder)
    for method in options.methods:
        (folder / f"{method}.yml").write_text(config(method))
    print(HEAD)
    for method in options.methods:
        report(folder, method, options.mergekit)


if __name__ == "__main__":
    main()
