"""Parts of a tensor: what one rank of a tensor-parallel group owns of it.

A slice of one dimension is, in the flat tensor, a number of runs of equal width at equal distances.
Entries keep the index that they have in the whole tensor, so that masks and cuts fall on the same ones
however many ranks there are.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Region:
    """`rows` runs of `width` entries, `stride` apart; the first begins at `first`."""

    rows: int
    width: int
    stride: int
    first: int = 0

    @property
    def numel(self) -> int:
        return self.rows * self.width

    @property
    def end(self) -> int:
        """One past the last entry."""
        return self.first + (self.rows - 1) * self.stride + self.width

    def row(self, number: int) -> int:
        """Where a run begins."""
        return self.first + number * self.stride

    def cut_out(self, flat: Tensor) -> Tensor:
        """The region's entries of a flat tensor, [rows, width]: a view."""
        return flat.as_strided(
            (self.rows, self.width), (self.stride, 1), flat.storage_offset() + self.first
        )


def whole(numel: int) -> Region:
    """All of a tensor."""
    return Region(1, numel, numel)


def slice_of(shape: tuple[int, ...], dim: int, start: int, stop: int) -> Region:
    """Entries `start` to `stop` of dimension `dim`."""
    inner = math.prod(shape[dim + 1 :])
    stride = shape[dim] * inner
    width = (stop - start) * inner
    rows = math.prod(shape[:dim])
    if width == stride:
        return whole(rows * stride)
    return Region(rows, width, stride, start * inner)


@dataclass(frozen=True)
class Place:
    """A tensor to write into, of as many entries as the region that it takes of the merged tensor."""

    tensor: Tensor
    region: Region

    def same_as(self, merged: Tensor) -> bool:
        """Whether it holds its part of `merged`, bit for bit, rounded to its own dtype."""
        part = self.region.cut_out(merged.contiguous().reshape(-1)).reshape(self.tensor.shape)
        return torch.equal(self.tensor, part.to(self.tensor.device, self.tensor.dtype))
