"""Permuted least squares of convolutions: patches are the inputs, positions the examples (PLeaS).

A convolution is a linear map of patches [C · k · k]; every channel has k · k entries in them, which share its
role. Groups of channels, dilation and padding by anything but zeros are not known here.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.alignment.permute import Order
from evomerge.alignment.squares import blend, solve
from evomerge.alignment.widths import Side

Pair = tuple[Tensor, Tensor]


def fit_convolution(
    start_OCkk: Tensor,
    weights: Pair,
    inputs: Pair,
    sides: dict[int, Side],
    *,
    stride: int = 1,
    padding: int = 0,
    ridge: float = 0.01,
    positions: int = 8192,
) -> Tensor:
    """The merged convolution [O′, C′, k, k] that answers most like both networks; fp32.

    Args:
        start_OCkk: the partial merge, which the ridge holds on to.
        weights: both networks' [O, C, k, k]; inputs: what goes into them, [T, C, H, W]; the second's in the
            order that fits.
        sides: of the merged tensor, as `Widening.sides` gives them.
        positions: at most so many patches are used, evenly spread.
    """
    size = weights[0].shape[-1]
    patches = [_patches(x, size, stride, padding, positions) for x in inputs]
    answers = [x @ w.double().flatten(1).T for x, w in zip(patches, weights, strict=True)]
    out = _ends(sides.get(0), weights[0].shape[0])
    channels = _ends(sides.get(1), weights[0].shape[1])
    entries = _entries(channels[0], size * size), np.repeat(channels[1], size * size)
    found, _ = solve(
        start_OCkk.flatten(1),
        None,
        blend(patches[0], patches[1], *entries),
        blend(answers[0], answers[1], *out),
        (out[1], entries[1]),
        ridge,
    )
    return found.view(start_OCkk.shape)


def _patches(x_TCHW: Tensor, size: int, stride: int, padding: int, positions: int) -> Tensor:
    """[positions, C · k · k], fp64; the same positions for every network."""
    found = torch.nn.functional.unfold(x_TCHW.float(), size, padding=padding, stride=stride)
    rows = found.movedim(1, 2).reshape(-1, found.shape[1])
    step = -(-len(rows) // positions)
    return rows[::step].double()


def _entries(channels: Order, count: int) -> Order:
    return (channels[:, None] * count + np.arange(count)).reshape(-1)


def _ends(side: Side | None, length: int) -> tuple[Order, NDArray[np.int64]]:
    """Of each merged channel the matched one, and its role."""
    if side is None:
        return np.arange(length), np.zeros(length, np.int64)
    return side.index, side.roles
