"""The six methods written plainly in float64, one tensor at a time: what the kernels must give."""

import numpy as np


def kept_by_magnitude(delta, density):
    """True for the k largest |delta|; ties go to the lowest index."""
    flat = np.abs(delta).reshape(-1)
    keep = max(1, int(round(density * 1000) * flat.size // 1000))
    order = sorted(range(flat.size), key=lambda i: (-flat[i], i))
    mask = np.zeros(flat.size, bool)
    mask[order[:keep]] = True
    return mask.reshape(delta.shape)


def hash_32(index, first, second):
    """The mask's hash in plain integers."""
    low, high = index & 0xFFFFFFFF, index >> 32
    x = (low >> 1) ^ ((first ^ high * 0x9E3779B1) & 0xFFFFFFFF)
    x = ((x ^ (x >> 16)) * 0x21F0AAAD) & 0xFFFFFFFF
    x = x ^ (x >> 15) ^ ((second ^ high * 0x85EBCA77) & 0xFFFFFFFF)
    x = (x * 0x735A2D97) & 0xFFFFFFFF
    x = (x ^ (x >> 15)) * 0x915F77F5
    return (x if index % 2 else x * 0x93D765DD) & 0xFFFFFFFF


def kept_at_random(shape, density, key):
    """True where the hash is below density · 2^32."""
    size = int(np.prod(shape))
    kept = [hash_32(i, *key) * 1000 < round(density * 1000) << 32 for i in range(size)]
    return np.array(kept, bool).reshape(shape)


def rescaled(delta, mask):
    """Keeps the L1 norm of the delta."""
    total, kept = np.abs(delta).sum(), np.abs(delta[mask]).sum()
    return np.where(mask, delta, 0) * (total / kept if kept > 0 else 1)


def linear(models, weights, normalize=True):
    total = sum(w * x for w, x in zip(weights, models, strict=True))
    return total / sum(weights) if normalize else total


def summed(base, deltas, weights, normalize=False, scale=1.0):
    total = sum(w * d for w, d in zip(weights, deltas, strict=True))
    return base + scale * total / (sum(weights) if normalize else 1)


def elected(base, deltas, weights, normalize=True, scale=1.0):
    merged = np.zeros_like(base)
    for place in np.ndindex(base.shape):
        terms = [w * d[place] for w, d in zip(weights, deltas, strict=True)]
        sign = 1 if sum(terms) >= 0 else -1
        agree = [i for i, term in enumerate(terms) if term * sign > 0]
        total = sum(terms[i] for i in agree)
        if normalize and agree:
            share = sum(weights[i] for i in agree)
            bound = sum(abs(weights[i]) for i in agree)
            total /= share if abs(share) > 1e-6 * bound else bound
        merged[place] = total
    return base + scale * merged


def slerp(a, b, t):
    c = (a * b).sum() / np.sqrt((a * a).sum() * (b * b).sum())
    if abs(c) > 0.9995:
        return (1 - t) * a + t * b
    angle = np.arccos(c)
    return (np.sin((1 - t) * angle) * a + np.sin(t * angle) * b) / np.sin(angle)
