"""Weighted averages of whole models: uniform, weighted and greedy soups."""

from typing import Any

from evomerge.methods.base import Inputs, Method, Parameter


def linear_kernel(inputs: Inputs) -> Any:
    """Σ wᵢ θᵢ / divisor, summed in the order of the models."""
    total_C = inputs.models[0] * inputs.weights[0]
    for model_C, weight in zip(inputs.models[1:], inputs.weights[1:], strict=True):
        total_C = total_C + model_C * weight
    return total_C / inputs.divisor


LINEAR = Method(
    name="linear",
    doc="Weighted average of the models.",
    formula="θ = Σ wᵢ θᵢ / Σ wᵢ  (without the division if normalize is false)",
    source="Wortsman et al. 2022, Model soups",
    parameters=(
        Parameter("weight", "weight of a model", None, per_model=True, search=(0.0, 1.5)),
        Parameter("normalize", "divide by the sum of the weights", True, kind="bool"),
    ),
    kernel=linear_kernel,
)
