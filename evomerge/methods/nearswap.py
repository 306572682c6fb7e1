"""NearSwap: takes the other model's value where it is near the base's, and less of it farther away."""

from typing import Any

from evomerge.methods.base import Method, Parameter, Tensors

NEAR = 1e-6
"""Distances below this count as this."""


def nearswap(tensors: Tensors) -> Any:
    """a + min(1, t / |a − b|) (b − a), entry by entry; `models` are the base and the other."""
    base, other = tensors.models
    share = (float(tensors.values["t"]) / (base - other).abs().clamp_min(NEAR)).clamp(0.0, 1.0)
    return other * share + base * (1.0 - share)


NEARSWAP = Method(
    name="nearswap",
    doc="Moves every entry of the base towards the other model, by at most t.",
    formula="ω b + (1 − ω) a,  ω = min(1, t / |a − b|)",
    source="alchemonaut, QuartetAnemoi-70B; mergekit",
    parameters=(Parameter("t", "the step", None, low=0.0, search=(1e-5, 1e-2), scale="log"),),
    compute=nearswap,
    entrywise=True,
    base="endpoint",
    min_models=2,
    max_models=2,
)
