"""Spherical interpolation between two models."""

from typing import Any

from evomerge.methods.base import Method, Parameter


def slerp_kernel(*args: Any) -> Any:
    raise NotImplementedError


SLERP = Method(
    name="slerp",
    doc="Interpolates along the great circle between two models; t = 0 is the base model.",
    formula="(sin((1−t)Θ) a + sin(tΘ) b) / sin Θ, Θ the angle of a and b; lerp where |cos Θ| > 0.9995",
    source="Shoemake 1985; METHODS.md section 1",
    parameters=(
        Parameter("t", "0 is the base model, 1 the other", None, low=0.0, high=1.0, search=(0, 1)),
    ),
    kernel=slerp_kernel,
    base="endpoint",
    min_models=2,
    max_models=2,
)
