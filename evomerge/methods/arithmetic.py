"""The three sums that most methods end in: of models, of deltas, and of deltas that agree."""

from collections.abc import Sequence
from typing import Any

from evomerge.methods.amounts import CANCEL
from evomerge.methods.base import Inputs

TINY = 1e-30
"""Divides where no model agrees: the sum is 0 there. (Denormals would cost 50 cycles a division.)"""


def linear_kernel(inputs: Inputs) -> Any:
    """Σ wᵢ θᵢ / divisor, summed in the order of the models."""
    total_C = inputs.models[0] * inputs.weights[0]
    for model_C, weight in zip(inputs.models[1:], inputs.weights[1:], strict=True):
        total_C = total_C + model_C * weight
    return total_C / inputs.divisor


def sum_kernel(inputs: Inputs) -> Any:
    """θ₀ + λ Σ cᵢ δ̂ᵢ / divisor, summed in the order of the models."""
    terms = _terms(inputs)
    return inputs.base_C + _total(terms) / inputs.divisor * inputs.scale


def elect_kernel(inputs: Inputs) -> Any:
    """θ₀ + λ Σ cᵢ δ̂ᵢ mᵢ / Σ wᵢ mᵢ: only entries with the elected sign take part.

    A vote of 0 counts as positive. Terms are turned so that agreement means a positive sign, which
    leaves a maximum and a comparison for each model.
    """
    terms = _terms(inputs)
    total_C = _votes(inputs, terms)
    sign_C = total_C.new_ones(()).where(total_C >= 0, -1.0)
    turned = [term_C * sign_C for term_C in terms]
    merged_C = _total([turned_C.clamp_min(0.0) for turned_C in turned])
    if inputs.normalize:
        merged_C = merged_C / _agreed_weight(inputs, turned)
    return inputs.base_C + merged_C * sign_C * inputs.scale


def _terms(inputs: Inputs) -> list[Any]:
    scaled = [d_C * c for d_C, c in zip(inputs.models, inputs.coefficients, strict=True)]
    return _masked(inputs, scaled)


def _votes(inputs: Inputs, terms: list[Any]) -> Any:
    if inputs.vote == "count":
        return _total([term_C.sign() for term_C in terms])
    if inputs.vote == "delta":
        return _total(_masked(inputs, inputs.models))
    return _total(terms)


def _masked(inputs: Inputs, parts: Sequence[Any]) -> list[Any]:
    masked = []
    for part_C, keep_C in zip(parts, inputs.keeps, strict=True):
        if keep_C is None:
            masked.append(part_C)
        elif keep_C.is_floating_point():
            masked.append(part_C * keep_C)
        else:
            masked.append(part_C.where(keep_C, 0.0))
    return masked


def _total(parts: Sequence[Any]) -> Any:
    total_C = parts[0]
    for part_C in parts[1:]:
        total_C = total_C + part_C
    return total_C


def _agreed_weight(inputs: Inputs, turned: Sequence[Any]) -> Any:
    """Σ wᵢ mᵢ, never 0. Where weights of mixed sign cancel, Σ |wᵢ| mᵢ, so that nothing blows up."""
    share_C = _total([w.where(t_C > 0, 0.0) for w, t_C in zip(inputs.weights, turned, strict=True)])
    if inputs.mixed_signs:
        sizes = [weight.abs() for weight in inputs.weights]
        bound_C = _total([w.where(t_C > 0, 0.0) for w, t_C in zip(sizes, turned, strict=True)])
        share_C = bound_C.where(share_C.abs() <= bound_C * CANCEL, share_C)
        return share_C.where(bound_C > 0, 1.0)
    return share_C.clamp_min(TINY)
