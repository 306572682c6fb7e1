"""Statistics that no model was asked for: random ones, put into the store under their right keys."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from evomerge.calibration.recipes import requests_for
from evomerge.calibration.sets import CalibrationSet, Example, make_set
from evomerge.calibration.statistic import STATISTICS
from evomerge.calibration.store import Request, StatisticStore
from evomerge.fingerprint import fingerprint
from evomerge.layout import CheckpointIndex, kind_of, read_index


def some_texts(*texts: str) -> CalibrationSet:
    """A set that is kept."""
    examples = [Example(text) for text in texts or ("red blue green", "stone river cloud")]
    made = make_set(examples, {}, examples=100, max_length=64)
    made.save()
    return made


def write_random_statistics(models: Mapping[str, Path], texts: CalibrationSet) -> None:
    """Every statistic of linear layers, entries and models, of the right shapes."""
    indexes = {name: read_index(folder) for name, folder in models.items()}
    prints = {name: fingerprint(index) for name, index in indexes.items()}
    known = ("input_grams", "output_gradient_grams", "fisher", "empirical_fisher", "sensitivity")
    known = (*known, "activations")
    assert set(known) | {"logits"} <= set(STATISTICS)
    for request in requests_for((*known, "logits"), texts, prints):
        write_statistic(request, random_values(request, indexes[request.model]))


def random_values(request: Request, index: CheckpointIndex) -> dict[str, Tensor]:
    """Values of a statistic, positive definite where they are matrices."""
    seed = int(request.key, 16) % (1 << 32)
    generator = torch.Generator().manual_seed(seed)
    if request.statistic == "logits":
        return {"logits": torch.randn((5, 16), generator=generator)}
    found = {}
    for name, info in index.tensors.items():
        if request.statistic == "sensitivity":
            found[name] = torch.rand((), generator=generator, dtype=torch.float64)
        elif "fisher" in request.statistic:
            found[name] = torch.rand(info.shape, generator=generator)
        elif request.statistic == "activations":
            if len(info.shape) == 2 and kind_of(name) != "embedding":
                found[name] = torch.randn((6, info.shape[1]), generator=generator)
        elif len(info.shape) == 2 and kind_of(name) != "embedding":
            side = info.shape[0 if "output" in request.statistic else 1]
            inputs = torch.randn((3 * side, side), generator=generator)
            found[name] = inputs.T @ inputs / len(inputs)
    return found


def write_statistic(
    request: Request,
    values: Mapping[str, Tensor],
    transposed: tuple[str, ...] = (),
    leaders: Mapping[str, str] | None = None,
    root: Path | None = None,
) -> None:
    """Publish values as if they had been measured."""
    from safetensors.torch import save_file

    store = StatisticStore(root)
    if store.has(request):
        return
    store.work(request).mkdir(parents=True)
    save_file(dict(values), store.work(request) / "part-00000.safetensors")
    moments = {
        name: [
            float(value.double().sum()),
            float(value.double().square().sum()),
            float(value.double().diagonal().sum()) if value.dim() == 2 else 0.0,
        ]
        for name, value in values.items()
    }
    notes = {"transposed": list(transposed), "leaders": dict(leaders or {})}
    counts = dict.fromkeys(values, 1)
    about = {"ids": "same", "examples": 2, "tokens": 6, "seconds": 0.1}
    store.finish(request, {**about, "moments": moments, "notes": notes, "counts": counts})


def gram(rng: np.random.Generator, tokens: int, side: int) -> np.ndarray:
    """The Gram matrix of random inputs, in fp64."""
    inputs = rng.normal(size=(tokens, side))
    return inputs.T @ inputs / tokens
