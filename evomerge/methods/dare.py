"""DARE: entries of each delta are dropped at random, the rest scaled up; then summed or elected."""

from dataclasses import replace

from evomerge.methods.arithmetic import elect_kernel, sum_kernel
from evomerge.methods.base import Method, Trim
from evomerge.methods.parameters import (
    DELTA_WEIGHT,
    INT8_MASK,
    LAMBDA,
    density,
    normalize,
    rescale,
    rescale_by,
)

_PARAMETERS = (
    DELTA_WEIGHT,
    density((0.01, 1.0), "log"),
    normalize(False),
    LAMBDA,
    rescale(True),
    rescale_by("1 / density"),
    INT8_MASK,
)
DARE_LINEAR = Method(
    name="dare_linear",
    doc="Drops entries of each delta at random, rescales the rest, adds them to the base.",
    formula="θ₀ + λ Σ wᵢ δ̂ᵢ",
    source="Yu et al. 2024",
    parameters=_PARAMETERS,
    kernel=sum_kernel,
    base="required",
    trim=Trim.RANDOM,
)
DARE_TIES = replace(
    DARE_LINEAR,
    name="dare_ties",
    doc="DARE's random masks with TIES' sign election.",
    formula="θ₀ + λ Σ wᵢ δ̂ᵢ mᵢ",
    kernel=elect_kernel,
)
