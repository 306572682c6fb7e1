"""Weighted averages of whole models: uniform, weighted and greedy soups."""

from typing import Any

from evomerge.methods.base import Method, Parameter


def linear_kernel(*args: Any) -> Any:
    raise NotImplementedError


LINEAR = Method(
    name="linear",
    doc="Weighted average of the models.",
    formula="θ = Σ wᵢ θᵢ / Σ wᵢ  (without the division if normalize is false)",
    source="Wortsman et al. 2022, Model soups; METHODS.md section 1",
    parameters=(
        Parameter("weight", "weight of a model", None, per_model=True, search=(0.0, 1.5)),
        Parameter("normalize", "divide by the sum of the weights", True, kind="bool"),
    ),
    kernel=linear_kernel,
)
