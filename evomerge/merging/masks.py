"""Random masks that depend on nothing but their name: seed, model, tensor, element.

The mask of an element is a hash of its index under a key, so any chunk can be computed alone, in
any order, on any device, and always comes out the same. Two rounds of a 32-bit integer hash with
the multipliers of hash-prospector (C. Wellons); the key enters between the rounds, so that the
masks of two tensors are unrelated. Arithmetic is int32 with wrap-around.
"""

import hashlib
import struct
from functools import lru_cache
from typing import TYPE_CHECKING

from evomerge.methods.amounts import decimal

if TYPE_CHECKING:
    from torch import Tensor

_FIRST, _SECOND = 0x21F0AAAD, 0x735A2D97


@lru_cache(65536)
def mask_key(seed: int, model: int, tensor: str) -> tuple[int, int]:
    """Two int32 keys for one delta. `model` is the model's position in `Recipe.all_models`."""
    digest = hashlib.sha256(f"{seed}\0{model}\0{tensor}".encode()).digest()
    first, second = struct.unpack("<ii", digest[:8])
    return first, second


@lru_cache(4096)
def keep_limit(density: float) -> int:
    """An element is kept where its hash in [0, 2^31) is at most this."""
    return -int(-decimal(density) * 2**31 // 1) - 1


def hash_31(index_C: "Tensor", first: "Tensor", second: "Tensor") -> "Tensor":
    """Hashes in [0, 2^31) of int32 indices [C] under two int32 keys (0-d tensors)."""
    return (_mix(_mix(index_C ^ first) ^ second) >> 1) & 0x7FFFFFFF


def _mix(x_C: "Tensor") -> "Tensor":
    x_C = (x_C ^ ((x_C >> 16) & 0xFFFF)) * _FIRST
    x_C = (x_C ^ ((x_C >> 15) & 0x1FFFF)) * _SECOND
    return x_C ^ ((x_C >> 15) & 0x1FFFF)
