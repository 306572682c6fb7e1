"""MLERP: the plain average, given back the length that averaging took from it."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evomerge.methods.amounts import cancel_problem
from evomerge.methods.arithmetic import linear_kernel
from evomerge.methods.base import Measured, Method, Parameter, Span, Values


def vectors(values: Values) -> Span:
    """Norms of whole models, or of tensors."""
    return "model" if values["scope"] == "model" else "tensor"


def cancelling(_: Values, own: Sequence[Values]) -> str | None:
    """Weights without a sum have no mean."""
    weights = [float(values["weight"]) for values in own]
    return cancel_problem(weights)


def coefficients(measured: Measured) -> NDArray[np.float64]:
    """wᵢ / Σw · (Σ w‖θ‖ / Σw) / ‖θ̄‖."""
    weights = np.array([float(values["weight"]) for values in measured.own])
    weights = weights / weights.sum()
    length = np.sqrt(max(float(weights @ measured.dots @ weights), 0.0))
    wanted = float(weights @ measured.norms)
    scaled: NDArray[np.float64] = weights * (wanted / length if length > 0 else 1.0)
    return scaled


MLERP = Method(
    name="mlerp",
    doc="The weighted average, scaled to the weighted mean of the models' norms.",
    formula="θ̄ / ‖θ̄‖ · Σ wᵢ‖θᵢ‖ / Σ wᵢ,  θ̄ = Σ wᵢθᵢ / Σ wᵢ",
    source="Tam et al. 2024, Realistic evaluation of model merging (the formula is our reading)",
    parameters=(
        Parameter("weight", "weight of a model", 1.0, per_model=True, search=(0.0, 1.5)),
        Parameter(
            "scope",
            "norms of the whole `model`, or of each `tensor`",
            "model",
            kind="choice",
            choices=("model", "tensor"),
        ),
    ),
    kernel=linear_kernel,
    check=cancelling,
    coefficients=coefficients,
    vectors=vectors,
)
