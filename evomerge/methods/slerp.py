"""Spherical interpolation between two models.

The angle between two tensors does not depend on t, so it is measured once for a pair of models;
what remains for a candidate is a weighted sum of the two.
"""

import math

from evomerge.methods.base import Method, Parameter
from evomerge.methods.linear import linear_kernel

PARALLEL = 0.9995
"""Above this |cosine| the great circle is taken for a line, as in mergekit."""


def slerp_weights(t: float, cosine: float) -> tuple[float, float]:
    """Weights of the two (un-normalised) tensors at `t`, from the cosine of their angle."""
    if abs(cosine) > PARALLEL:
        return 1.0 - t, t
    angle = math.acos(cosine)
    return math.sin((1.0 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)


SLERP = Method(
    name="slerp",
    doc="Interpolates along the great circle between two models; t = 0 is the base model.",
    formula="(sin((1−t)Θ) a + sin(tΘ) b) / sin Θ, Θ the angle of a and b; lerp where |cos Θ| > 0.9995",
    source="Shoemake 1985",
    parameters=(
        Parameter("t", "0 is the base model, 1 the other", None, low=0.0, high=1.0, search=(0, 1)),
    ),
    kernel=linear_kernel,
    base="endpoint",
    min_models=2,
    max_models=2,
)
