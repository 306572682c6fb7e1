"""The same YAML through `mergekit-yaml` and `evomerge merge`, tensor by tensor.

Needs mergekit 0.1.5 in an environment of its own; evomerge does not install it:

    python -m venv /tmp/mergekit && /tmp/mergekit/bin/pip install mergekit==0.1.5
    python -m benchmarks.mergekit_parity --mergekit /tmp/mergekit/bin/mergekit-yaml

Makes a small Llama and three fine-tunes, runs every configuration below on fp32 models, on bf16 models
with `dtype: bfloat16` (mergekit then computes in bf16, evomerge never does), and on bf16 models with
`dtype: float32, out_dtype: bfloat16` (both compute in fp32 and round once), and
prints for each how many entries are equal in every bit, the largest difference, and that difference
in units of the merge's own effect (the largest |merged − base|). DARE's masks are random in both, so
there the densities and norms of the merged deltas are compared instead. Differences on purpose are
explained in docs/mergekit_differences.md.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file

from evomerge.merging.offline import merge_config

CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 160,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "vocab_size": 512,
    "tie_word_embeddings": False,
}
TWO = "models:\n  - {model: a, parameters: {weight: 0.7DA}}\n  - {model: b, parameters: {weight: 0.4DB}}\n"
THREE = TWO + "  - {model: c, parameters: {weight: 0.33DC}}\n"
BOTH = "models:\n  - {model: base}\n  - {model: a}\n"


def models(text: str, *densities: float) -> str:
    """The models block with densities filled in, or without any."""
    for letter, value in zip("ABC", densities or ("", "", ""), strict=False):
        text = text.replace(f"D{letter}", f", density: {value}" if value != "" else "")
    return text


CASES: dict[str, str] = {
    "linear": "merge_method: linear\n" + models(THREE),
    "linear, not normalised": "merge_method: linear\nparameters: {normalize: false}\n"
    + models(THREE),
    "slerp": "merge_method: slerp\nbase_model: base\nparameters: {t: 0.35}\n" + BOTH,
    "slerp, gradient and filter": "merge_method: slerp\nbase_model: base\nparameters:\n"
    "  t: [{filter: mlp, value: [0, 0.5, 1]}, {filter: attn, value: [1, 0]}, {value: 0.5}]\n"
    + BOTH,
    "task_arithmetic": "merge_method: task_arithmetic\nbase_model: base\n" + models(THREE),
    "task_arithmetic, normalize, lambda": "merge_method: task_arithmetic\nbase_model: base\n"
    "parameters: {normalize: true, lambda: 0.8}\n" + models(THREE),
    "ties": "merge_method: ties\nbase_model: base\n" + models(THREE, 0.5, 0.3, 0.2),
    "ties, not normalised": "merge_method: ties\nbase_model: base\n"
    "parameters: {normalize: false, int8_mask: true}\n" + models(THREE, 0.5, 0.3, 0.2),
    "ties, negative weight": "merge_method: ties\nbase_model: base\n"
    + models(THREE, 0.5, 0.3, 0.2).replace("weight: 0.33", "weight: -0.33"),
    "dare_linear, density 1": "merge_method: dare_linear\nbase_model: base\n"
    + models(THREE, 1, 1, 1),
    "dare_ties, density 1": "merge_method: dare_ties\nbase_model: base\n" + models(THREE, 1, 1, 1),
    "slices of two models": "merge_method: linear\nslices:\n"
    "  - sources: [{model: a, layer_range: [0, 3], parameters: {weight: [0, 1]}},"
    " {model: b, layer_range: [1, 4], parameters: {weight: 1}}]\n"
    "  - sources: [{model: c, layer_range: [2, 4], parameters: {weight: 1}}]\n",
}
RANDOM: dict[str, str] = {
    "dare_linear": "merge_method: dare_linear\nbase_model: base\n" + models(TWO, 0.4, 0.6),
    "dare_ties": "merge_method: dare_ties\nbase_model: base\n" + models(TWO, 0.4, 0.6),
}
SETTINGS: dict[str, tuple[torch.dtype, str]] = {
    "fp32 models": (torch.float32, "dtype: float32\n"),
    "bf16 models, arithmetic left to the tool": (torch.bfloat16, "dtype: bfloat16\n"),
    "bf16 models, arithmetic in fp32": (torch.bfloat16, "dtype: float32\nout_dtype: bfloat16\n"),
}


def shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the Llama of CONFIG."""
    hidden, inner, vocabulary = 64, 160, 512
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for layer in range(4):
        place = f"model.layers.{layer}"
        found |= {f"{place}.self_attn.{n}_proj.weight": (hidden, hidden) for n in "qkvo"}
        found |= {f"{place}.mlp.{n}_proj.weight": (inner, hidden) for n in ("gate", "up")}
        found[f"{place}.mlp.down_proj.weight"] = (hidden, inner)
        found[f"{place}.input_layernorm.weight"] = (hidden,)
        found[f"{place}.post_attention_layernorm.weight"] = (hidden,)
    return {**found, "model.norm.weight": (hidden,), "lm_head.weight": (vocabulary, hidden)}


def make_models(folder: Path, dtype: torch.dtype) -> None:
    """Base and three fine-tunes in `dtype`, deltas a tenth of the weights."""
    torch.manual_seed(0)
    base = {name: torch.randn(shape) * 0.02 for name, shape in shapes().items()}
    for name in ("base", "a", "b", "c"):
        step = 0.0 if name == "base" else 2e-3
        weights = {key: (x + step * torch.randn(x.shape)).to(dtype) for key, x in base.items()}
        (folder / name).mkdir()
        save_file(weights, folder / name / "model.safetensors", metadata={"format": "pt"})
        config = {**CONFIG, "torch_dtype": str(dtype).removeprefix("torch.")}
        (folder / name / "config.json").write_text(json.dumps(config))


def run_both(
    folder: Path, number: int, text: str, settings: str, mergekit: str
) -> list[dict[str, Any]]:
    """Both merges of one configuration as {tensor: value}."""
    config = folder / f"{number}.yml"
    config.write_text(text + settings)
    theirs, ours = folder / f"theirs{number}", folder / f"ours{number}"
    command = [mergekit, str(config), str(theirs), "--no-copy-tokenizer", "--no-write-model-card"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"mergekit-yaml failed on:\n{config.read_text()}\n{done.stderr[-2000:]}")
    merge_config(config, ours)
    return [
        {
            name: x.double()
            for file in path.glob("*.safetensors")
            for name, x in load_file(file).items()
        }
        for path in (theirs, ours)
    ]


def compare(theirs: dict[str, Any], ours: dict[str, Any], base: dict[str, Any]) -> str:
    """One line: tensors, equal entries, largest difference, relative to the merge's effect."""
    if theirs.keys() != ours.keys():
        return f"TENSORS DIFFER: {sorted(theirs.keys() ^ ours.keys())[:3]}"
    total = sum(x.numel() for x in ours.values())
    equal = sum(int((ours[name] == theirs[name]).sum()) for name in ours)
    worst = max(float((ours[name] - theirs[name]).abs().max()) for name in ours)
    near = {
        name: base[name] for name in ours if name in base and base[name].shape == ours[name].shape
    }
    effect = max(float((ours[name] - near[name]).abs().max()) for name in near)
    return f"{equal / total:9.3%} equal   largest difference {worst:.1e} = {worst / effect:.1e} of the effect"


def compare_random(theirs: dict[str, Any], ours: dict[str, Any], base: dict[str, Any]) -> str:
    """Density and L1 norm of the merged delta, which do not depend on the mask drawn."""
    words = []
    for which in (theirs, ours):
        deltas = torch.cat([(which[name] - base[name]).reshape(-1) for name in which])
        words.append((float((deltas != 0).double().mean()), float(deltas.abs().sum())))
    (density, norm), (density_, norm_) = words
    return f"changed entries {density:.4f} / {density_:.4f}   L1 norm {norm:.2f} / {norm_:.2f}"


def main() -> None:
    """Print one line per configuration and dtype."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mergekit", required=True, help="the mergekit-yaml executable")
    options = parser.parse_args()
    for title, (dtype, settings) in SETTINGS.items():
        print(f"\n{title}")
        with tempfile.TemporaryDirectory() as name:
            compare_all(Path(name), dtype, settings, options.mergekit)


def compare_all(folder: Path, dtype: torch.dtype, settings: str, mergekit: str) -> None:
    """One line for each configuration."""
    make_models(folder, dtype)
    base = {k: x.double() for k, x in load_file(folder / "base/model.safetensors").items()}
    for number, (title, text) in enumerate({**CASES, **RANDOM}.items()):
        theirs, ours = run_both(folder, number, text, settings, mergekit)
        line = (compare_random if title in RANDOM else compare)(theirs, ours, base)
        print(f"  {title:36s} {line}", flush=True)


if __name__ == "__main__":
    main()
