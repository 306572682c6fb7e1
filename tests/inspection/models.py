"""A base and fine-tunes whose task vectors are known, for tests of what is told about them."""

from pathlib import Path

import numpy as np
from safetensors.numpy import save_file
from safetensors.torch import load_file

from tests.support import write_checkpoint


def star(folder: Path, changes: dict[str, dict[str, float]]) -> dict[str, str]:
    """`base` and its fine-tunes: each task vector is a sum of shared random directions.

    changes: for each model the amount of each direction, such as `{"a": {"u": 1.0, "v": -0.5}}`.
    """
    base = write_checkpoint(folder / "base", 0)
    weights = {name: x.numpy() for name, x in load_file(base / "model.safetensors").items()}
    paths = {"base": str(base)}
    for model, amounts in changes.items():
        made = {}
        for place, (name, weight) in enumerate(sorted(weights.items())):
            delta = sum(
                (amount * direction(axis, place, weight.shape) for axis, amount in amounts.items()),
                np.zeros(weight.shape),
            )
            made[name] = (weight + delta).astype(np.float32)
        path = write_checkpoint(folder / model, 0)
        save_file(made, path / "model.safetensors")
        paths[model] = str(path)
    return paths


def direction(axis: str, place: int, shape: tuple[int, ...]) -> np.ndarray:
    """Small noise that depends on the axis and the tensor alone."""
    return np.random.default_rng([ord(axis[0]), place]).normal(0, 1e-3, shape)


def flat(path: str) -> np.ndarray:
    """All weights of a checkpoint as one vector, in fp64."""
    loaded = load_file(Path(path) / "model.safetensors")
    return np.concatenate([loaded[name].double().numpy().ravel() for name in sorted(loaded)])
