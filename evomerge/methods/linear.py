"""Weighted averages of whole models: uniform, weighted and greedy soups."""

from evomerge.methods.arithmetic import linear_kernel
from evomerge.methods.base import Method
from evomerge.methods.parameters import MODEL_WEIGHT, normalize

LINEAR = Method(
    name="linear",
    doc="Weighted average of the models.",
    formula="θ = Σ wᵢ θᵢ / Σ wᵢ  (without the division if normalize is false)",
    source="Wortsman et al. 2022, Model soups",
    parameters=(MODEL_WEIGHT, normalize(True)),
    kernel=linear_kernel,
)
