"""Barycentric interpolation of any number of models on a sphere.

The published construction goes through the tangent space at the weighted mean of the unit vectors and
back. Its tangents are linear projections at that very mean, so their weighted sum is zero: what comes
out is the mean's direction with the weighted mean of the norms (METHODS.md, section 1).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evomerge.methods.amounts import cancel_problem
from evomerge.methods.arithmetic import linear_kernel
from evomerge.methods.base import Measured, Method, Parameter, Values, whole_tensor
from evomerge.methods.parameters import MODEL_WEIGHT


def cancelling(values: Values, own: Sequence[Values]) -> str | None:
    """Weights without a sum have no mean."""
    weights = [float(given["weight"]) for given in own]
    return cancel_problem(weights) if values["normalize_weights"] else None


def coefficients(measured: Measured) -> NDArray[np.float64]:
    """wᵢ / ‖xᵢ‖ · Σ w‖x‖ / ‖Σ w u‖; the weights themselves where the unit vectors cancel."""
    weights = np.array([float(values["weight"]) for values in measured.own])
    if measured.values["normalize_weights"]:
        weights = weights / weights.sum()
    if measured.size == 1:
        return np.ones(1)
    eps = float(measured.values["eps"])
    norms = measured.norms
    units = weights / (norms + eps)
    length = np.sqrt(max(float(units @ measured.dots @ units), 0.0))
    if length < eps:
        return weights
    scaled: NDArray[np.float64] = units / length * float(weights @ norms)
    return scaled


MULTISLERP = Method(
    name="multislerp",
    doc="The direction of the weighted mean of unit vectors, with the weighted mean of the norms.",
    formula="Σ wⱼ‖xⱼ‖ · Σ wᵢuᵢ / ‖Σ wᵢuᵢ‖,  uᵢ = xᵢ/‖xᵢ‖,  x = θ or δ (then added to θ₀)",
    source="mergekit (Goddard 2025)",
    parameters=(
        MODEL_WEIGHT,
        Parameter("normalize_weights", "let the weights sum to 1", True, kind="bool"),
        Parameter("eps", "norms below this count as zero", 1e-8, low=0.0, low_open=True),
    ),
    kernel=linear_kernel,
    check=cancelling,
    base="origin",
    coefficients=coefficients,
    vectors=whole_tensor,
)
