"""The task-vector family: deltas against a base are trimmed, elected and added back."""

from collections.abc import Sequence
from typing import Any

from evomerge.methods.amounts import CANCEL
from evomerge.methods.base import Inputs, Method, Parameter, Trim

TINY = 1e-30
"""Divides where no model agrees: the sum is 0 there. (Denormals would cost 50 cycles a division.)"""


def sum_kernel(inputs: Inputs) -> Any:
    """θ₀ + λ Σ cᵢ δ̂ᵢ / divisor, summed in the order of the models."""
    terms = _terms(inputs)
    return inputs.base_C + _total(terms) / inputs.divisor * inputs.scale


def elect_kernel(inputs: Inputs) -> Any:
    """θ₀ + λ Σ cᵢ δ̂ᵢ mᵢ / Σ wᵢ mᵢ: only entries with the sign of the weighted sum take part.

    A sum of 0 counts as positive. Terms are turned so that agreement means a positive sign, which
    leaves a maximum and a comparison for each model.
    """
    terms = _terms(inputs)
    total_C = _total(terms)
    sign_C = total_C.new_ones(()).where(total_C >= 0, -1.0)
    turned = [term_C * sign_C for term_C in terms]
    merged_C = _total([turned_C.clamp_min(0.0) for turned_C in turned])
    if inputs.normalize:
        merged_C = merged_C / _agreed_weight(inputs, turned)
    return inputs.base_C + merged_C * sign_C * inputs.scale


def _terms(inputs: Inputs) -> list[Any]:
    scaled = [d_C * c for d_C, c in zip(inputs.models, inputs.coefficients, strict=True)]
    masked = zip(scaled, inputs.keeps, strict=True)
    return [term_C if keep_C is None else term_C.where(keep_C, 0.0) for term_C, keep_C in masked]


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


WEIGHT = Parameter("weight", "weight of a model's delta", None, per_model=True, search=(0.0, 1.5))
LAMBDA = Parameter("lambda", "scale of the merged delta", 1.0, search=(0.1, 2.0))
INT8_MASK = Parameter("int8_mask", "accepted and without effect", False, kind="bool")


def _density(search: tuple[float, float], scale: Any) -> Parameter:
    return Parameter(
        "density",
        "share of the delta's entries that are kept",
        1.0,
        per_model=True,
        low=0.0,
        high=1.0,
        low_open=True,
        search=search,
        scale=scale,
    )


def _method(name: str, doc: str, formula: str, source: str, *, elect: bool, trim: Trim) -> Method:
    random = trim is Trim.RANDOM
    density = _density((0.01, 1.0), "log") if random else _density((0.05, 1.0), "linear")
    return Method(
        name=name,
        doc=doc,
        formula=formula,
        source=source,
        parameters=(
            WEIGHT,
            *([] if trim is Trim.NONE else [density]),
            Parameter("normalize", "divide by the sum of the weights", name == "ties", kind="bool"),
            LAMBDA,
            *(
                []
                if trim is Trim.NONE
                else [Parameter("rescale", "keep the L1 norm of a delta", random, kind="bool")]
            ),
            INT8_MASK,
        ),
        kernel=elect_kernel if elect else sum_kernel,
        base="required",
        trim=trim,
    )


TASK_ARITHMETIC = _method(
    "task_arithmetic",
    "Adds weighted deltas to the base.",
    "θ₀ + λ Σ wᵢ δᵢ",
    "Ilharco et al. 2023",
    elect=False,
    trim=Trim.NONE,
)
TIES = _method(
    "ties",
    "Keeps each delta's largest entries, elects a sign per entry, averages those that agree.",
    "θ₀ + λ Σ wᵢ δ̂ᵢ mᵢ / Σ wᵢ mᵢ,  mᵢ = [sgn(wᵢ δ̂ᵢ) = sgn(Σ wⱼ δ̂ⱼ)]",
    "Yadav et al. 2023",
    elect=True,
    trim=Trim.MAGNITUDE,
)
DARE_LINEAR = _method(
    "dare_linear",
    "Drops entries of each delta at random, rescales the rest, adds them to the base.",
    "θ₀ + λ Σ wᵢ δ̂ᵢ",
    "Yu et al. 2024",
    elect=False,
    trim=Trim.RANDOM,
)
DARE_TIES = _method(
    "dare_ties",
    "DARE's random masks with TIES' sign election.",
    "θ₀ + λ Σ wᵢ δ̂ᵢ mᵢ",
    "Yu et al. 2024",
    elect=True,
    trim=Trim.RANDOM,
)
