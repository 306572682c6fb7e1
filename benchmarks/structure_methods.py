"""Methods that change structure or learn, on networks trained here: permutations, experts, DAM.

    python -m benchmarks.structure_methods [perceptrons|transformers|experts|dam] …

perceptrons: pairs of networks from different seeds, all three pairs. transformers: two Llamas from
different seeds that copy, reverse, sort and rotate, each as well as the other. experts: a Mixtral of
eight experts trained on the same. dam: the demo's zoo, as in `benchmarks.data_methods`, beside the search.
Intervals are 95 % over resampled documents (pairs of networks where there are several). Prints the tables
of docs/permutations.md, docs/moe.md and docs/dam.md.
"""

import argparse
import json
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, MixtralConfig, MixtralForCausalLM
from transformers.utils import logging as transformers_logging

from benchmarks.structure_dam import dam_rows
from evomerge.alignment.groups import Axis, Group
from evomerge.alignment.permute import Permuter
from evomerge.alignment.weights import match_weights, reader, unit_scores
from evomerge.alignment.widths import Widening, by_share, cost
from evomerge.bootstrap import percentile_interval, resampled_means
from evomerge.evaluation.calibrated import calibrate
from evomerge.evaluation.calibration_works import works_of_file
from evomerge.merging.grouped import load_grouped
from evomerge.merging.offline import merge_config
from evomerge.zoo.config import SKILLED, ZooConfig
from evomerge.zoo.skills import SKILLS, draw_string
from evomerge.zoo.tokenizer import END_ID, PAD_ID, VOCABULARY, make_tokenizer
from evomerge.zoo.training import Rates, draw_batch, new_model, train

PARTS = ("perceptrons", "transformers", "experts", "dam")
DOCUMENTS, TEXTS = 600, 128
SIDE, CLASSES, WIDTH = 12, 10, 256


def main() -> None:
    """Run the parts that are named; all by default."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=list(PARTS))
    chosen = parser.parse_args().parts or list(PARTS)
    transformers_logging.disable_progress_bar()
    torch.set_num_threads(1)
    for part in chosen:
        print(f"\n{part}\n", flush=True)
        with tempfile.TemporaryDirectory() as folder, Kept(Path(folder), part):
            for line in RUNS[part](Path(folder)):
                print(line, flush=True)


class Kept:
    """Statistics of throw-away models go with them; the zoo's stay where they are."""

    def __init__(self, folder: Path, part: str) -> None:
        self.change = {} if part == "dam" else {"XDG_CACHE_HOME": str(folder / "cache")}
        self.change |= {} if part == "dam" else {"XDG_DATA_HOME": str(folder / "data")}

    def __enter__(self) -> None:
        self.before = {key: os.environ.get(key) for key in self.change}
        os.environ.update(self.change)

    def __exit__(self, *_: object) -> None:
        for key, value in self.before.items():
            if value is None:
                del os.environ[key]
            else:
                os.environ[key] = value


# Perceptrons: noisy pictures of ten patterns, shifted.


def pictures(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Pictures [count, SIDE²] and their classes."""
    patterns = torch.randn(CLASSES, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(7))
    patterns = 3 * torch.nn.functional.avg_pool2d(patterns, 3, 1, 1)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    shifts = torch.randint(-2, 3, (count, 2), generator=generator)
    x = [
        torch.roll(patterns[c], (int(a), int(b)), (1, 2))
        for c, (a, b) in zip(labels, shifts, strict=True)
    ]
    stacked = torch.stack(x)
    noise = 2 * torch.randn(stacked.shape, generator=generator)
    return (stacked + noise).flatten(1), labels


def perceptron(seed: int, x: Tensor, labels: Tensor, steps: int = 400) -> dict[str, Tensor]:
    """A trained network's tensors."""
    torch.manual_seed(seed)
    layers: list[torch.nn.Module] = []
    for narrow, wide in ((SIDE**2, WIDTH), (WIDTH, WIDTH), (WIDTH, CLASSES)):
        layers += [torch.nn.Linear(narrow, wide), torch.nn.ReLU()]
    model = torch.nn.Sequential(*layers[:-1])
    optimizer = torch.optim.AdamW(model.parameters(), 2e-3)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    for _ in range(steps):
        chosen = torch.randint(0, len(x), (128,))
        loss = torch.nn.functional.cross_entropy(model(x[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return {name: value.detach() for name, value in model.state_dict().items()}


def right(tensors: dict[str, Tensor], x: Tensor, labels: Tensor) -> float:
    """The share of pictures whose class is recognised."""
    for number in (0, 2, 4):
        x = x @ tensors[f"{number}.weight"].T + tensors[f"{number}.bias"]
        x = x.relu() if number < 4 else x
    return float((x.argmax(1) == labels).float().mean())


def hidden(number: int) -> Group:
    out, after = f"{number}", f"{number + 2}"
    axes = (Axis(f"{out}.weight", 0, "out"), Axis(f"{out}.bias", 0, "out"))
    return Group(f"hidden {out}", "mlp", WIDTH, (*axes, Axis(f"{after}.weight", 1, "in")))


def perceptrons(_: Path) -> Iterator[str]:
    """Three pairs: the better network, the average, permuted, partly apart."""
    train_x, train_y = pictures(20_000, 99)
    test = pictures(2000, 1)
    groups = (hidden(0), hidden(2))
    found: dict[str, list[float]] = {}
    sizes: dict[str, float] = {}
    for pair in range(3):
        one, two = (perceptron(10 * pair + n, train_x, train_y) for n in (1, 2))
        order = match_weights(groups, reader(one), reader(two))
        moved = {n: Permuter(groups).apply(n, x, order) for n, x in two.items()}
        scores = unit_scores(groups, reader(one), reader(moved), {})
        shapes = {name: tuple(x.shape) for name, x in one.items()}
        trials: list[tuple[str, dict[str, Tensor], float]] = [
            ("average", two, 0.0),
            ("permutation alignment", moved, 0.0),
            *((f"PLeaS without least squares, r = {r}", moved, r) for r in (0.25, 0.5, 1.0)),
        ]
        found.setdefault("the better network", []).append(max(right(x, *test) for x in (one, two)))
        sizes["the better network"] = 1.0
        for name, other, ratio in trials:
            roles = by_share(scores, {g.name: ratio for g in groups}) if ratio else {}
            widening = Widening(groups, roles)
            merged = {n: widening.merge(n, one[n], other[n]) for n in one}
            found.setdefault(name, []).append(right(merged, *test))
            sizes[name] = cost(groups, shapes, roles)
    yield "| | right, of three pairs | size |\n|---|---|---|"
    for name, values in found.items():
        low, high = min(values), max(values)
        yield f"| {name} | {np.mean(values):.3f} ({low:.3f} to {high:.3f}) | {sizes[name]:.2f} |"


# Transformers and mixtures: strings copied, reversed, sorted, rotated.


def questions(count: int, seed: int) -> list[str]:
    """Prompts of all skills with their answers, as texts."""
    rng = random.Random(seed)
    found = []
    for _ in range(count):
        skill = SKILLS[rng.choice(sorted(lesson.asked for lesson in SKILLED))]
        string = draw_string(skill.alphabet, False, rng)
        found.append(skill.prompt(string) + skill.answer(string))
    return found


@torch.no_grad()
def answered(model: Any, seed: int = 5) -> tuple[np.ndarray, float]:
    """Which of DOCUMENTS answers are right in every letter; the mean loss of a letter."""
    rng, hits, losses = random.Random(seed), [], []
    for _ in range(DOCUMENTS // 100):
        ids, labels = draw_batch(SKILLED, 100, rng)
        logits, wanted = model(input_ids=ids).logits[:, :-1], labels[:, 1:]
        asked = wanted != -100
        hits.append(((logits.argmax(-1) == wanted) | ~asked).all(1).numpy())
        losses.append(torch.nn.functional.cross_entropy(logits[asked], wanted[asked]).item())
    return np.concatenate(hits).astype(float), float(np.mean(losses))


def trained(model: Any, folder: Path, steps: int, rates: Rates, seed: int) -> Any:
    """Train on all skills and save with its tokenizer."""
    train(model, SKILLED, steps, rates, 96, seed, lambda: None)
    model.save_pretrained(folder)
    make_tokenizer(64).save_pretrained(str(folder))
    model.name_or_path = str(folder)
    return model.eval()


def merge(home: Path, config: dict[str, Any]) -> tuple[Any, float, int]:
    """The merged model, measured first; the seconds of the merge alone; the bytes of its weights' file."""
    shutil.rmtree(home / "out", ignore_errors=True)
    file = home / "merge.yml"
    file.write_text(json.dumps({"dtype": "float32", **config}))
    for work in works_of_file(file, ()):
        calibrate(work, device="cpu")
    start = time.perf_counter()
    merge_config(file, home / "out")
    seconds = time.perf_counter() - start
    grouped = config.get("parameters", {}).get("form") == "grouped"
    load = load_grouped if grouped else AutoModelForCausalLM.from_pretrained
    return load(home / "out").eval(), seconds, _bytes(home / "out")


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.glob("*.safetensors"))


def lines(home: Path, first: Any, recipes: Sequence[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    """A row for every recipe, the first for the model `first` as it is."""
    yield "| | right | loss | size | file, MB | merge, s |\n|---|---|---|---|---|---|"
    size = sum(x.numel() for x in first.parameters())
    yield _line("before", first, size, None, _bytes(home / str(first.name_or_path)))
    merge(home, recipes[0][1])  # so that the first row pays for no import
    for name, config in recipes:
        model, seconds, stored = merge(home, config)
        yield _line(name, model, size, seconds, stored)


def _line(name: str, model: Any, size: int, seconds: float | None, stored: int) -> str:
    hits, loss = answered(model)
    found = percentile_interval(float(hits.mean()), resampled_means(hits[None, :])[:, 0])
    share = sum(x.numel() for x in model.parameters()) / size
    spent = "" if seconds is None else f"{seconds:.1f}"
    right = f"{found.value:.3f} [{found.low:.3f}, {found.high:.3f}]"
    return f"| {name} | {right} | {loss:.3f} | {share:.2f} | {stored / 1e6:.2f} | {spent} |"


def transformers(home: Path) -> Iterator[str]:
    """Two Llamas that share nothing but their shapes and their task."""
    (home / "texts.txt").write_text("\n".join(questions(TEXTS, 3)))
    models = []
    for seed in (1, 2):
        config = ZooConfig(seed=seed, hidden_size=128, heads=4, mlp_size=512)
        start = time.perf_counter()
        model = trained(new_model(config), home / f"{seed}", 200, Rates(5e-3, 0.02), seed)
        models.append(model)
        hits = answered(model)[0]
        print(
            f"seed {seed}: {hits.mean():.3f} after {time.perf_counter() - start:.0f} s", flush=True
        )
    both = {
        "models": [{"model": str(home / f"{seed}")} for seed in (1, 2)],
        "calibration": {"data": str(home / "texts.txt"), "examples": TEXTS},
    }
    soup = {**both, "merge_method": "linear", "parameters": {"weight": 0.5}}

    def pleas(**parameters: Any) -> dict[str, Any]:
        return {**both, "merge_method": "pleas", "parameters": parameters}

    yield from lines(
        home,
        models[0],
        [
            ("average", soup),
            ("align: permutation, average", {**soup, "align": "permutation"}),
            ("align: activations, average", {**soup, "align": "activations"}),
            ("PLeaS, by weights, r = 0", pleas()),
            ("PLeaS, by activations, r = 0", pleas(matching="activations")),
            *(
                (f"PLeaS, by activations, r = {r}", pleas(matching="activations", ratio=r))
                for r in (0.25, 0.5, 1.0)
            ),
            (
                "the same without least squares, r = 0.25",
                pleas(matching="activations", ratio=0.25, least_squares=False),
            ),
        ],
    )


def experts(home: Path) -> Iterator[str]:
    """A Mixtral of two layers and eight experts, two of which answer for a token."""
    (home / "texts.txt").write_text("\n".join(questions(TEXTS, 3)))
    torch.manual_seed(1)
    config = MixtralConfig(
        vocab_size=len(VOCABULARY),
        hidden_size=128,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        num_local_experts=8,
        num_experts_per_tok=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=END_ID,
        pad_token_id=PAD_ID,
    )
    model = trained(MixtralForCausalLM(config), home / "moe", 250, Rates(5e-3), 1)
    one = {
        "merge_method": "m_smoe",
        "models": [{"model": str(home / "moe")}],
        "calibration": {"data": str(home / "texts.txt"), "examples": TEXTS},
    }

    def m_smoe(**parameters: Any) -> dict[str, Any]:
        return {**one, "parameters": parameters}

    small = {"router": "reduce", "allocation": "layer"}
    yield from lines(
        home,
        model,
        [
            ("6 of 8 groups, router kept", m_smoe(keep=0.75)),
            ("6 of 8, router reduced", m_smoe(keep=0.75, **small)),
            ("4 of 8, router kept", m_smoe(keep=0.5)),
            ("4 of 8, joined by expert outputs", m_smoe(keep=0.5, similarity="expert_outputs")),
            ("4 of 8, joined by weights", m_smoe(keep=0.5, similarity="weights")),
            ("4 of 8, router reduced", m_smoe(keep=0.5, **small)),
            (
                "4 of 8, router reduced, joined by weights",
                m_smoe(keep=0.5, similarity="weights", **small),
            ),
            ("4 of 8, router kept, grouped form", m_smoe(keep=0.5, form="grouped")),
            *(
                (f"8 of 8, {share} of the hidden units", m_smoe(keep=1.0, hidden=share))
                for share in (0.75, 0.5, 0.25)
            ),
            (
                "6 of 8, router reduced, half of the hidden units",
                m_smoe(keep=0.75, hidden=0.5, **small),
            ),
            ("8 of 8 at a quarter of the rank", m_smoe(keep=1.0, rank=0.25)),
            ("the same, grouped form", m_smoe(keep=1.0, rank=0.25, form="grouped")),
            (
                "6 of 8 at half the rank, grouped form (MC-SMoE)",
                m_smoe(keep=0.75, rank=0.5, form="grouped"),
            ),
            (
                "6 of 8 at a quarter of the rank, grouped form",
                m_smoe(keep=0.75, rank=0.25, form="grouped"),
            ),
        ],
    )


RUNS = {
    "perceptrons": perceptrons,
    "transformers": transformers,
    "experts": experts,
    "dam": dam_rows,
}

if __name__ == "__main__":
    main()
