"""fp32 memory that is used again as soon as nothing refers to it: fresh pages cost more than arithmetic.

A tensor made of a numpy array keeps a reference to it for as long as any view of the tensor lives, so
an array that nobody else refers to is free. Nothing has to be given back by hand.
"""

import math
import sys
from threading import Lock

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

LARGEST = 1 << 26
"""Entries of the largest array that is kept, 256 MB."""
_PROBE = [np.empty(0)]
_FREE = sys.getrefcount(_PROBE[0])
"""What Python counts for an array that only a list refers to."""


class Scratch:
    """Tensors that live for the merge of one tensor; threads may ask at the same time."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._rooms: list[NDArray[np.float32]] = []

    def copy_of(self, tensor: Tensor) -> Tensor:
        """The tensor in fp32, in memory of its own."""
        count = math.prod(tensor.shape)
        if count > LARGEST:
            return tensor.to(torch.float32, copy=True)
        with self._lock:  # until a tensor refers to the room
            made = torch.from_numpy(self._room(count))[:count]
        return made.view(tensor.shape).copy_(tensor)

    def _room(self, count: int) -> NDArray[np.float32]:
        free = [n for n in range(len(self._rooms)) if sys.getrefcount(self._rooms[n]) == _FREE]
        for number in free:
            if self._rooms[number].size >= count:
                return self._rooms[number]
        for number in reversed(free):  # too small: a larger one takes their place
            del self._rooms[number]
        self._rooms.append(np.empty(count, np.float32))
        return self._rooms[-1]
