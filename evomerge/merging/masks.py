"""Random masks that depend on nothing but their name: seed, model, tensor, element.

The mask of an element is a hash of its index under a key, so any chunk can be computed alone, in
any order, on any device, and always comes out the same. A 32-bit hash (hash-prospector's, C. Wellons;
the key enters before its first multiplication and between both, so that the masks of two tensors are
unrelated) is for two neighbours: each takes the product with a multiplier of its own, and the
quotient of both spreads pairs evenly (0.81 of the best lattice; after Steele and Vigna 2022, "Computationally
easy, spectrally good multipliers"). Upper bits are random, the lowest less so. int32 with wrap-around.
"""

import hashlib
import struct
from functools import lru_cache
from typing import TYPE_CHECKING

from evomerge.methods.amounts import decimal

if TYPE_CHECKING:
    from torch import Tensor

FIRST, SECOND = 0x21F0AAAD, 0x735A2D97
ODD = 0x915F77F5
EVEN = ODD * 0x93D765DD % (1 << 32)
UPPER_FIRST, UPPER_SECOND = 0x9E3779B1, 0x85EBCA77
"""Odd numbers by which the upper half of an index enters the keys."""
WHOLE = 1 << 32
"""A chance of 1: limits are chances in these units."""
SCHEME = 2
"""Changes with the hash: what was measured of other masks is not found again."""
_SIGN = -(1 << 31)


@lru_cache(65536)
def mask_key(seed: int, model: int, tensor: str) -> tuple[int, int]:
    """Two int32 keys for one delta. `model` is the model's position in `Recipe.all_models`."""
    digest = hashlib.sha256(f"{seed}\0{model}\0{tensor}".encode()).digest()
    first, second = struct.unpack("<ii", digest[:8])
    return first, second


def key_at(key: tuple[int, int], upper: int) -> tuple[int, int]:
    """The keys (int32) for the entries whose index has this upper half: index >> 32."""
    first, second = key
    return int32(first ^ upper * UPPER_FIRST), int32(second ^ upper * UPPER_SECOND)


def int32(value: int) -> int:
    """The int32 with the lowest 32 bits of a number."""
    return (value + (1 << 31)) % (1 << 32) - (1 << 31)


@lru_cache(4096)
def keep_limit(density: float) -> int:
    """An element is kept where its hash in [0, 2^32) is below this, for a density in (0, 1)."""
    return min(-int(-decimal(density) * WHOLE // 1), WHOLE - 1)


def hash_32(index_C: "Tensor", first: "Tensor", second: "Tensor") -> "Tensor":
    """Hashes (32 bits, as int32) of int32 indices [C] under two int32 keys (0-d tensors)."""
    x_C = ((index_C >> 1) & 0x7FFFFFFF) ^ first
    x_C = (x_C ^ ((x_C >> 16) & 0xFFFF)) * FIRST
    x_C = (x_C ^ ((x_C >> 15) & 0x1FFFF) ^ second) * SECOND
    x_C = x_C ^ ((x_C >> 15) & 0x1FFFF)
    return x_C * (int32(EVEN) + (index_C & 1) * int32(ODD - EVEN))


def is_below(hash_C: "Tensor", limit_C: "Tensor") -> "Tensor":
    """Where a hash is below its limit, both 32 bits without a sign, as int32."""
    return (hash_C ^ _SIGN) < (limit_C ^ _SIGN)
