"""Fisher merging: each entry is averaged by how sure each model is of it.

The Fisher information of language models is often far below any fixed floor (1e-6 and the like), which
would turn the merge into a plain average; so the floor is a share of the tensor's own mean here. Those of
published codes are options: `absolute` (max(F, ε), r-three), `added` (F + ε, bloomberg and MergeLM).
"""

from typing import Any

from evomerge.methods.averages import MODEL_SHARE, average, measured, shares
from evomerge.methods.base import Measurement, Method, Parameter, Tensors, Values

_STATISTICS = {"true": "fisher", "empirical": "empirical_fisher"}


def statistics(values: Values) -> tuple[str, ...]:
    """Labels drawn from the model (the paper), or the texts' own."""
    return (_STATISTICS[str(values["fisher"])],)


def merge(tensors: Tensors) -> Any:
    """Σ wᵢ F̂ᵢ θᵢ / Σ wᵢ F̂ᵢ; the average where no model knows anything of an entry."""
    weights = shares(tensors)
    mean_C = average(tensors.models, weights)
    found = measured(tensors, statistics(tensors.values)[0])
    if found is None:
        return mean_C
    unit = max(_scale(one, tensors.values) * _mean(one) for one in found) or 1.0
    total_C, divisor_C = mean_C * 0.0, mean_C * 0.0
    for model_C, one, weight in zip(tensors.models, found, weights, strict=True):
        share_C = _trusted(one, tensors.values, unit) * weight
        total_C, divisor_C = total_C + model_C * share_C, divisor_C + share_C
    known_C = divisor_C > 0
    return (total_C / divisor_C.where(known_C, 1.0)).where(known_C, mean_C)


def _trusted(one: Measurement, values: Values, unit: float) -> Any:
    """F̂, in units of about the largest model's mean, so that no product of it underflows."""
    floor = float(values["floor"])
    if values["floor_by"] == "added":
        raised_C = one.value + floor
    else:
        low = floor * _mean(one) if values["floor_by"] == "mean" else floor
        raised_C = one.value.clamp_min(low)
    return (raised_C * (_scale(one, values) / unit)) ** float(values["power"])


def _scale(one: Measurement, values: Values) -> float:
    """One over the norm of the tensor's or the model's Fisher information."""
    squares = {"none": 1.0, "tensor": one.squares, "model": one.model_squares}
    chosen = squares[str(values["normalise"])]
    return chosen**-0.5 if chosen > 0 else 0.0


def _mean(one: Measurement) -> float:
    return one.total / max(one.size, 1)


FISHER = Method(
    name="fisher",
    doc="Averages each entry by the models' Fisher information: who is sure of it has the say.",
    formula="Σ wᵢ F̂ᵢ θᵢ / Σ wᵢ F̂ᵢ,  Fᵢ = E (∂ log p(y|x) / ∂θᵢ)²,  F̂ᵢ = max(Fᵢ, ε·mean(Fᵢ))^γ",
    source="Matena and Raffel 2022, Merging models with Fisher-weighted averaging",
    parameters=(
        MODEL_SHARE,
        Parameter(
            "fisher",
            "`true`: labels are drawn from the model; `empirical`: they are the texts",
            "true",
            kind="choice",
            choices=("true", "empirical"),
        ),
        Parameter(
            "floor",
            "least Fisher information",
            1e-6,
            low=0.0,
            search=(1e-6, 1e-1),
            scale="log",
        ),
        Parameter(
            "floor_by",
            "the floor is a share of the tensor's `mean`, `absolute`, or `added` to all entries",
            "mean",
            kind="choice",
            choices=("mean", "absolute", "added"),
        ),
        Parameter("power", "γ: 0 is the average", 1.0, low=0.0, search=(0.25, 1.0)),
        Parameter(
            "normalise",
            "divide by the norm of the `tensor`'s or the `model`'s Fisher information",
            "none",
            kind="choice",
            choices=("none", "tensor", "model"),
        ),
    ),
    compute=merge,
    entrywise=True,
    statistics=statistics,
)
