"""The coefficients of a merge: a small tensor for each of the checkpoint's, and the file that keeps them.

A tensor's coefficients are [N, ...], N models, of a shape that spreads over the tensor: [N, 1, n] for the
columns of [o, n], [N, n, 1] for weights stored the other way round, [N, n] for gains, [N, 1] for biases.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evomerge.calibration.files import replace_whole
from evomerge.errors import CheckpointError
from evomerge.layout import kind_of

_FORMAT = "evomerge-dam-1"
_ROOM = 1e-4
"""How near to a nonlinearity's limits coefficients may begin."""


@dataclass(frozen=True)
class Learned:
    """Coefficients by tensor, after any nonlinearity, and what is known of them.

    about: models, their fingerprints, settings, losses.
    """

    values: Mapping[str, Tensor]
    about: Mapping[str, Any]

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(self.about["models"])

    @property
    def fingerprints(self) -> tuple[str, ...]:
        return tuple(self.about["fingerprints"])

    def save(self, file: Path) -> None:
        """Write the file, whole or not at all."""
        from safetensors.torch import save_file

        note = {"format": _FORMAT, "about": json.dumps(self.about, sort_keys=True)}
        kept = {name: value.clone().contiguous() for name, value in self.values.items()}
        replace_whole(file, lambda draft: save_file(kept, str(draft), metadata=note))


def load_learned(file: Path) -> Learned:
    """The coefficients in a file. Raises CheckpointError where it holds none."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(str(file), framework="pt") as stream:
            note = stream.metadata() or {}
            if note.get("format") != _FORMAT:
                raise ValueError("no coefficients of this version")
            values = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
            return Learned(values, json.loads(note["about"]))
    except (OSError, ValueError, KeyError, SafetensorError) as error:
        raise CheckpointError(
            f"holds no learned coefficients ({error})",
            where=str(file),
            remedy="write them with `evomerge dam CONFIG FOLDER`",
        ) from error


def combine(coefficients: Tensor, tensors: Sequence[Tensor]) -> Tensor:
    """Σ cᵢ · Wᵢ, fp32, in the order of models."""
    total = coefficients[0] * tensors[0].float()
    for own, tensor in zip(coefficients[1:], tensors[1:], strict=True):
        total = total + own * tensor.float()
    return total


def shape_of(name: str, shape: Sequence[int], *, column: bool, transposed: bool) -> tuple[int, ...]:
    """The shape of a tensor's coefficients for one model."""
    if not column or (len(shape) < 2 and kind_of(name) != "norm"):
        return (1,) * max(len(shape), 1)
    if len(shape) == 2 and transposed:
        return (shape[0], 1)
    return (*[1] * (len(shape) - 1), shape[-1])


def inside(value: Tensor, nonlinearity: str) -> Tensor:
    """What a nonlinearity makes `value` of, as near as its limits allow."""
    if nonlinearity == "tanh":
        return value.clamp(_ROOM - 1, 1 - _ROOM).atanh()
    if nonlinearity == "sigmoid":
        return value.clamp(_ROOM, 1 - _ROOM).logit()
    return value.clone()


def outside(raw: Tensor, nonlinearity: str) -> Tensor:
    """The coefficients of what is learned."""
    functions = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu}
    function = functions.get(nonlinearity)
    return raw if function is None else function(raw)
