"""Spherical interpolation between two models.

The angle between two tensors does not depend on t, so it is measured once for a pair of models;
what remains for a candidate is a weighted sum of the two.
"""

import numpy as np
from numpy.typing import NDArray

from evomerge.methods.arithmetic import linear_kernel
from evomerge.methods.base import Measured, Method, Parameter, whole_tensor

PARALLEL = 0.9995
"""Above this |cosine| the great circle is taken for a line, as in mergekit."""


def great_circle(
    t: float, cosines: NDArray[np.float64], line: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Weights [..., 2] of two (un-normalised) vectors at `t`; a straight line where `line`."""
    angle = np.arccos(np.where(line, 0.0, cosines))
    curved = np.stack([np.sin((1 - t) * angle), np.sin(t * angle)], -1) / np.sin(angle)[..., None]
    weights: NDArray[np.float64] = np.where(line[..., None], np.array([1 - t, t]), curved)
    return weights


def coefficients(measured: Measured) -> NDArray[np.float64]:
    """Weights of the base and the other model."""
    cosines = measured.cosines[..., 0, 1]
    return great_circle(float(measured.values["t"]), cosines, np.abs(cosines) > PARALLEL)


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
    coefficients=coefficients,
    vectors=whole_tensor,
)
