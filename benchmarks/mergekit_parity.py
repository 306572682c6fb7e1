"""The same YAML through mergekit and evomerge, tensor by tensor.

Needs mergekit 0.1.5 in an environment of its own; evomerge does not install it:

    python -m venv /tmp/mergekit && /tmp/mergekit/bin/pip install mergekit==0.1.5
    python -m benchmarks.mergekit_parity --mergekit /tmp/mergekit/bin

Makes a small Llama and three fine-tunes, runs every configuration below on fp32 models, on bf16 models
with `dtype: bfloat16` (mergekit then computes in bf16, evomerge never does), and on bf16 models with
`dtype: float32, out_dtype: bfloat16` (both compute in fp32 and round once), and prints for each how many
entries are equal in every bit, how many differ by more than the last bit (ulp) of the output, the largest
difference, and that difference in units of the merge's own effect (the largest |merged − base|). Masks
that are drawn at random differ, so there densities and norms of the merged deltas are compared instead.
Differences on purpose are explained in docs/mergekit_differences.md.

`--golden FILE` writes what mergekit makes of the models and configurations of `GOLDEN`; the tests compare
every merge with that file, and so need no mergekit.
"""

import argparse
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from evomerge.merging.offline import merge_config

TWO = "models:\n  - {model: a, parameters: {weight: 0.7DA}}\n  - {model: b, parameters: {weight: 0.4DB}}\n"
THREE = TWO + "  - {model: c, parameters: {weight: 0.33DC}}\n"
BARE = "models: [{model: a}, {model: b}, {model: c}]\n"
PAIR = "models: [{model: base}, {model: a}]\n"
BASE = "base_model: base\n"


def method(name: str, parameters: str = "") -> str:
    """The head of a configuration."""
    return f"merge_method: {name}\n" + (f"parameters: {{{parameters}}}\n" if parameters else "")


def models(text: str, *densities: float) -> str:
    """The models block with densities filled in, or without any."""
    for letter, value in zip("ABC", densities or ("", "", ""), strict=False):
        text = text.replace(f"D{letter}", f", density: {value}" if value != "" else "")
    return text


TRIMMED = models(THREE, 0.5, 0.3, 0.2)
PLAIN = models(THREE)
CASES: dict[str, str] = {
    "linear": method("linear") + PLAIN,
    "linear, not normalised": method("linear", "normalize: false") + PLAIN,
    "slerp": method("slerp", "t: 0.35") + BASE + PAIR,
    "slerp, gradient and filter": "merge_method: slerp\nbase_model: base\nparameters:\n"
    "  t: [{filter: mlp, value: [0, 0.5, 1]}, {filter: attn, value: [1, 0]}, {value: 0.5}]\n"
    + PAIR,
    "nuslerp": method("nuslerp") + models(TWO),
    "nuslerp of deltas": method("nuslerp") + BASE + models(TWO),
    "nuslerp by rows": method("nuslerp", "nuslerp_flatten: false") + BASE + models(TWO),
    "nuslerp by columns": method("nuslerp", "nuslerp_flatten: false, nuslerp_row_wise: true")
    + BASE
    + models(TWO),
    "multislerp": method("multislerp") + PLAIN,
    "multislerp of deltas": method("multislerp") + BASE + PLAIN,
    "multislerp, not normalised": method("multislerp", "normalize_weights: false") + PLAIN,
    "karcher": method("karcher") + BARE,
    "karcher, one step": method("karcher", "max_iter: 1") + BARE,
    "task_arithmetic": method("task_arithmetic") + BASE + PLAIN,
    "task_arithmetic, normalize, lambda": method("task_arithmetic", "normalize: true, lambda: 0.8")
    + BASE
    + PLAIN,
    "ties": method("ties") + BASE + TRIMMED,
    "ties, not normalised": method("ties", "normalize: false, int8_mask: true") + BASE + TRIMMED,
    "ties, negative weight": method("ties")
    + BASE
    + TRIMMED.replace("weight: 0.33", "weight: -0.33"),
    "ties, rescaled": method("ties", "rescale: true") + BASE + TRIMMED,
    "breadcrumbs": method("breadcrumbs", "gamma: 0.02") + BASE + TRIMMED,
    "breadcrumbs_ties": method("breadcrumbs_ties", "gamma: 0.05, normalize: true") + BASE + TRIMMED,
    "dare_linear, density 1": method("dare_linear") + BASE + models(THREE, 1, 1, 1),
    "dare_ties, density 1": method("dare_ties") + BASE + models(THREE, 1, 1, 1),
    "della, density 1": method("della") + BASE + models(THREE, 1, 1, 1),
    "della_linear, density 1": method("della_linear") + BASE + models(THREE, 1, 1, 1),
    "model_stock": method("model_stock") + BASE + BARE,
    "model_stock by rows": method("model_stock", "filter_wise: true") + BASE + BARE,
    "sce": method("sce") + BASE + BARE,
    "sce, selected": method("sce", "select_topk: 0.3") + BASE + BARE,
    "arcee_fusion": method("arcee_fusion") + BASE + PAIR,
    "ram": method("ram", "epsilon: 0.002") + BASE + BARE,
    "ramplus_tl": method("ramplus_tl", "epsilon: 0.002, r: 0.5, alpha: 0.4") + BASE + BARE,
    "nearswap": method("nearswap", "t: 0.001") + BASE + PAIR,
    "passthrough": method("passthrough") + "models: [{model: a, parameters: {scale: 0.9}}]\n",
    "slices of two models": "merge_method: linear\nslices:\n"
    "  - sources: [{model: a, layer_range: [0, 3], parameters: {weight: [0, 1]}},"
    " {model: b, layer_range: [1, 4], parameters: {weight: 1}}]\n"
    "  - sources: [{model: c, layer_range: [2, 4], parameters: {weight: 1}}]\n",
    "layers stacked": "merge_method: passthrough\nslices:\n"
    "  - sources: [{model: a, layer_range: [0, 3]}]\n"
    "  - sources: [{model: b, layer_range: [1, 4], parameters: {scale: [{filter: o_proj, value: 0},"
    " {filter: down_proj, value: 0}, {value: 1}]}}]\n",
}
RANDOM: dict[str, str] = {
    "dare_linear": method("dare_linear") + BASE + models(TWO, 0.4, 0.6),
    "dare_ties": method("dare_ties") + BASE + models(TWO, 0.4, 0.6),
    "della": method("della", "epsilon: 0.2") + BASE + models(TWO, 0.4, 0.6),
    "della_linear": method("della_linear", "epsilon: 0.2") + BASE + models(TWO, 0.4, 0.6),
}
Setting = tuple[str, torch.dtype, str]
FP32: Setting = ("fp32 models", torch.float32, "dtype: float32\n")
BF16_IN_FP32: Setting = (
    "bf16 models, arithmetic in fp32",
    torch.bfloat16,
    "dtype: float32\nout_dtype: bfloat16\n",
)
BF16: Setting = (
    "bf16 models, arithmetic left to the tool",
    torch.bfloat16,
    "dtype: bfloat16\n",
)
GOLDEN = (FP32, BF16_IN_FP32)
"""What the tests compare: both tools compute in fp32."""


def shapes(hidden: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a Llama with four layers."""
    inner, vocabulary = 5 * hidden // 2, 8 * hidden
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for layer in range(4):
        place = f"model.layers.{layer}"
        found |= {f"{place}.self_attn.{n}_proj.weight": (hidden, hidden) for n in "qkvo"}
        found |= {f"{place}.mlp.{n}_proj.weight": (inner, hidden) for n in ("gate", "up")}
        found[f"{place}.mlp.down_proj.weight"] = (hidden, inner)
        found[f"{place}.input_layernorm.weight"] = (hidden,)
        found[f"{place}.post_attention_layernorm.weight"] = (hidden,)
    return {**found, "model.norm.weight": (hidden,), "lm_head.weight": (vocabulary, hidden)}


def make_models(folder: Path, dtype: torch.dtype, hidden: int = 64) -> None:
    """Base and three fine-tunes in `dtype`: deltas a tenth of the weights, half of them shared."""
    generator = torch.Generator().manual_seed(0)

    def noise() -> dict[str, Tensor]:
        return {
            name: torch.randn(shape, generator=generator) for name, shape in shapes(hidden).items()
        }

    base = {name: 0.02 * x for name, x in noise().items()}
    shared = noise()
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": hidden,
        "intermediate_size": 5 * hidden // 2,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "num_key_value_heads": 4,
        "vocab_size": 8 * hidden,
        "tie_word_embeddings": False,
        "torch_dtype": str(dtype).removeprefix("torch."),
    }
    for name in ("base", "a", "b", "c"):
        own = noise()
        step = 0.0 if name == "base" else 1.4e-3
        weights = {key: (x + step * (shared[key] + own[key])).to(dtype) for key, x in base.items()}
        (folder / name).mkdir()
        save_file(weights, folder / name / "model.safetensors", metadata={"format": "pt"})
        (folder / name / "config.json").write_text(json.dumps(config))


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a model folder."""
    files = sorted(folder.glob("*.safetensors"))
    return {name: x for file in files for name, x in load_file(file).items()}


MERGEKIT = """
import sys, yaml
from pathlib import Path
from mergekit.config import MergeConfiguration
from mergekit.merge import run_merge
from mergekit.options import MergeOptions
options = MergeOptions(copy_tokenizer=False, write_model_card=False, quiet=True)
for name in sys.argv[1:]:
    config = MergeConfiguration.model_validate(yaml.safe_load(Path(name).read_text()))
    run_merge(config, name.removesuffix(".yml") + "-theirs", options)
"""


def run_mergekit(folder: Path, cases: dict[str, str], mergekit: Path) -> list[dict[str, Tensor]]:
    """mergekit's merges of all configurations, in one process (starting it takes five seconds)."""
    names = [f"{number}.yml" for number in range(len(cases))]
    for name, text in zip(names, cases.values(), strict=True):
        (folder / name).write_text(text)
    command = [str(mergekit / "python"), "-c", MERGEKIT, *names]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"mergekit failed:\n{done.stderr[-2000:]}")
    return [read_weights(folder / f"{number}-theirs") for number in range(len(cases))]


def run_ours(folder: Path, number: int) -> dict[str, Tensor]:
    """Our merge of the same file."""
    merge_config(folder / f"{number}.yml", folder / f"{number}-ours")
    return read_weights(folder / f"{number}-ours")


def ulp_of(x: Tensor) -> Tensor:
    """The distance of the numbers next to each entry, in float64; that of 1e-30 for smaller ones."""
    exponent = x.double().abs().clamp_min(1e-30).log2().floor()
    return torch.finfo(x.dtype).eps * torch.exp2(exponent)


def compare(theirs: dict[str, Tensor], ours: dict[str, Tensor], base: dict[str, Tensor]) -> str:
    """One line: equal entries, entries more than an ulp apart, largest difference and effect."""
    if theirs.keys() != ours.keys():
        return f"TENSORS DIFFER: {sorted(theirs.keys() ^ ours.keys())[:3]}"
    total = sum(x.numel() for x in ours.values())
    equal = sum(int((ours[name] == theirs[name]).sum()) for name in ours)
    gaps = {name: (ours[name].double() - theirs[name].double()).abs() for name in ours}
    far = sum(int((gap > ulp_of(theirs[name])).sum()) for name, gap in gaps.items())
    worst = max(float(gap.max()) for gap in gaps.values())
    near = {
        name: base[name].double()
        for name in ours
        if name in base and base[name].shape == ours[name].shape
    }
    effect = max(float((ours[name].double() - near[name]).abs().max()) for name in near)
    return (
        f"{equal / total:9.3%} equal  {far / total:8.3%} over 1 ulp  "
        f"largest difference {worst:.1e} = {worst / effect:.1e} of the effect"
    )


def compare_random(
    theirs: dict[str, Tensor], ours: dict[str, Tensor], base: dict[str, Tensor]
) -> str:
    """Density and L1 norm of the merged delta, which do not depend on the mask drawn."""
    words = []
    for which in (theirs, ours):
        deltas = torch.cat([(which[name].double() - base[name]).reshape(-1) for name in which])
        words.append((float((deltas != 0).double().mean()), float(deltas.abs().sum())))
    (density, norm), (density_, norm_) = words
    return f"changed entries {density:.4f} / {density_:.4f}   L1 norm {norm:.2f} / {norm_:.2f}"


def compare_all(folder: Path, setting: Setting, mergekit: Path) -> None:
    """One line for each configuration."""
    _, dtype, settings = setting
    make_models(folder, dtype)
    base = read_weights(folder / "base")
    cases = {title: text + settings for title, text in {**CASES, **RANDOM}.items()}
    made = run_mergekit(folder, cases, mergekit)
    for number, (title, theirs) in enumerate(zip(cases, made, strict=True)):
        line = (compare_random if title in RANDOM else compare)(
            theirs, run_ours(folder, number), base
        )
        print(f"  {title:36s} {line}", flush=True)


def golden(mergekit: Path) -> Iterator[tuple[str, Tensor]]:
    """mergekit's tensors for every case on very small models, named `setting/case/tensor`."""
    for setting, dtype, settings in GOLDEN:
        with tempfile.TemporaryDirectory() as name:
            make_models(Path(name), dtype, hidden=8)
            cases = {title: text + settings for title, text in CASES.items()}
            made = run_mergekit(Path(name), cases, mergekit)
            for title, theirs in zip(cases, made, strict=True):
                yield from ((f"{setting}/{title}/{key}", x) for key, x in theirs.items())


def main() -> None:
    """Print one line per configuration and dtype."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--mergekit", type=Path, required=True, help="the bin folder of mergekit's environment"
    )
    parser.add_argument("--golden", type=Path, help="write mergekit's results here, and stop")
    options = parser.parse_args()
    if options.golden:
        save_file(dict(golden(options.mergekit)), options.golden)
        return
    for setting in (FP32, BF16_IN_FP32, BF16):
        print(f"\n{setting[0]}")
        with tempfile.TemporaryDirectory() as name:
            compare_all(Path(name), setting, options.mergekit)


if __name__ == "__main__":
    main()
