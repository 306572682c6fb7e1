"""What a candidate of a method that uses data costs: CPU seconds for one linear layer, beside the average's.

    python -m benchmarks.data_costs

Three models, a square layer of each width, one thread. `first` works out what candidates have in common
as well, `next` is every later candidate. Prints the table of docs/calibration.md.
"""

import argparse
import time
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from evomerge.merging.plan import Layout, TensorPlan
from evomerge.merging.runner import Runner
from evomerge.methods import Measurement, get_method
from evomerge.methods.averages import average

MODELS = 3
CASES: Mapping[str, Mapping[str, Any]] = {
    "Fisher": {"method": "fisher"},
    "RegMean": {"method": "regmean"},
    "MaTS, covariance, 10 steps": {"method": "mats", "iterations": 10.0, "tolerance": 0.0},
    "MaTS, K-FAC, 10 steps": {
        "method": "mats",
        "objective": "kfac",
        "iterations": 10.0,
        "tolerance": 0.0,
    },
}


def main() -> None:
    """Time every method at every width."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--widths", type=int, nargs="+", default=[256, 512, 1024])
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    print("| one linear layer, n = o | " + " | ".join(map(str, options.widths)) + " |")
    print("|---|" + "---|" * len(options.widths))
    rows: dict[str, list[str]] = {"plain average": []} | {name: [] for name in CASES}
    for width in options.widths:
        models = [_random(width, seed) for seed in range(MODELS + 1)]
        rows["plain average"].append(f"{averaged(models[1:]):.4f} s")
        grams = [_gram(width, seed) for seed in range(2 * MODELS)]
        for name, case in CASES.items():
            first, later = timed(case, models, grams)
            rows[name].append(f"{first:.3f}, then {later:.3f} s")
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def averaged(models: list[Tensor]) -> float:
    """Seconds of the average, the second time."""
    seconds = 0.0
    for _ in range(2):
        start = time.process_time()
        average(models, [1 / len(models)] * len(models))
        seconds = time.process_time() - start
    return seconds


def timed(
    case: Mapping[str, Any], models: list[Tensor], grams: list[Tensor]
) -> tuple[float, float]:
    """Seconds of a first candidate, and of a second one with other weights."""
    method = get_method(str(case["method"]))
    values = {own.name: own.default for own in method.parameters if not own.per_model}
    values |= {key: value for key, value in case.items() if key != "method"}
    assert method.statistics is not None
    names = method.statistics(values)  # type: ignore[arg-type]
    width = len(models[0])
    known = [
        {name: _measurement(name, place, models, grams) for name in names}
        for place in range(MODELS)
    ]
    runner, found = Runner(torch.device("cpu")), []
    layout = Layout("w", (width, width), "F32", None, (), 0.0, 0)
    for share in (1.0, 0.7):
        own = tuple({"weight": share if place else 1.0} for place in range(MODELS))
        out = torch.empty(width, width)
        start = time.process_time()
        base = models[0] if method.base == "required" else None
        runner.compute(method, TensorPlan(layout, values, own), base, models[1:], out, known)  # type: ignore[arg-type]
        found.append(time.process_time() - start)
    return found[0], found[1]


def _measurement(name: str, place: int, models: list[Tensor], grams: list[Tensor]) -> Measurement:
    factor = place if name == "input_grams" else MODELS + place
    value = grams[factor] if "gram" in name else models[place].square()
    moments = float(value.sum()), float(value.square().sum()), float(value.diagonal().sum())
    return Measurement(value, 1, *moments, value.numel(), moments[1], f"{name}:{place}")


def _random(width: int, seed: int) -> Tensor:
    return torch.randn((width, width), generator=torch.Generator().manual_seed(seed)) * 0.02


def _gram(width: int, seed: int) -> Tensor:
    inputs = _random(width, 100 + seed)
    return inputs.T @ inputs / width + torch.eye(width) * 1e-4


if __name__ == "__main__":
    main()
