"""Spherical interpolation with weights, between deltas where there is a base.

Two fine-tunes of one base are almost parallel, so that `slerp` takes the straight line; between their
deltas the angle is large, and the great circle means something.
"""

import numpy as np
from numpy.typing import NDArray

from evomerge.methods.amounts import weights_cancel
from evomerge.methods.arithmetic import linear_kernel
from evomerge.methods.base import Measured, Method, Parameter, Span, Values
from evomerge.methods.parameters import MODEL_WEIGHT
from evomerge.methods.slerp import great_circle

COLINEAR = 1e-16
"""sin² of the angle at or below which the great circle is a line."""


def vectors(values: Values) -> Span:
    """mergekit's `row_wise` takes the columns, and its default rows, when nothing is flattened."""
    if values["nuslerp_flatten"]:
        return "tensor"
    return "column" if values["nuslerp_row_wise"] else "row"


def coefficients(measured: Measured) -> NDArray[np.float64]:
    """Weights of the two models; the middle where their weights cancel."""
    weights = [float(values["weight"]) for values in measured.own]
    t = 0.5 if weights_cancel(weights) else weights[1] / sum(weights)
    cosines = measured.cosines[..., 0, 1]
    return great_circle(t, cosines, 1.0 - cosines**2 <= COLINEAR)


NUSLERP = Method(
    name="nuslerp",
    doc="Interpolates two models, or their deltas where there is a base, along the great circle.",
    formula="(sin((1−t)Θ) x₁ + sin(tΘ) x₂) / sin Θ,  t = w₂ / (w₁ + w₂),  x = θ or δ (then added to θ₀)",
    source="mergekit; on deltas as in WARP (Ramé et al. 2024)",
    parameters=(
        MODEL_WEIGHT,
        Parameter(
            "nuslerp_flatten", "one angle a tensor, not one a row or column", True, kind="bool"
        ),
        Parameter(
            "nuslerp_row_wise",
            "without flattening: vectors along the first dimension, not the last",
            False,
            kind="bool",
        ),
    ),
    kernel=linear_kernel,
    base="origin",
    min_models=2,
    max_models=2,
    coefficients=coefficients,
    vectors=vectors,
)
