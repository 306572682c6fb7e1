"""What several methods fall back to: the average of the models, weighted and normalised."""

from collections.abc import Sequence
from typing import Any

from evomerge.methods.base import Measurement, Parameter, Tensors

MODEL_SHARE = Parameter(
    "weight", "weight of a model", 1.0, per_model=True, low=0.0, search=(0.0, 1.0)
)


def shares(tensors: Tensors) -> list[float]:
    """The models' weights, summing to 1; equal ones where all are 0."""
    weights = [float(own["weight"]) for own in tensors.own]
    total = sum(weights)
    if total <= 0:
        return [1.0 / len(weights)] * len(weights)
    return [weight / total for weight in weights]


def average(models: Sequence[Any], weights: Sequence[float]) -> Any:
    """Σ wᵢ θᵢ, summed in the order of the models."""
    total = models[0] * weights[0]
    for model, weight in zip(models[1:], weights[1:], strict=True):
        total = total + model * weight
    return total


def measured(tensors: Tensors, statistic: str) -> list[Measurement] | None:
    """A statistic of every model's tensor; None where one has none."""
    found = [known.get(statistic) for known in tensors.measured]
    there = [one for one in found if one is not None]
    return there if len(there) == len(tensors.models) else None
