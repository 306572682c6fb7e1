"""Arcee Fusion: only the most important changes of a model are taken over.

An entry's importance is the size of its change times how much the softmax of its row changed. Taken
are the entries that lie above the median by one and a half times the distance of the quartiles.
"""

from typing import Any

from evomerge.methods.base import Method, Tensors

EPS = 1e-8
FENCE = 1.5


def arcee_fusion(tensors: Tensors) -> Any:
    """θ₀ + (θ₁ − θ₀) where the importance is at least median + 1.5 (q₃ − q₁)."""
    base, model = tensors.base, tensors.models[0]
    importance = _importance(model, base)
    low, middle, high = _quartiles(importance)
    return model.where(importance >= middle + FENCE * (high - low), base)


def _importance(model: Any, base: Any) -> Any:
    p, q = ((x if x.dim() else x.view(1)).softmax(-1) + EPS for x in (model, base))
    return (model - base).abs() * (p * (p / q).log()).sum(-1, keepdim=True).view(
        (*model.shape[:-1], 1) if model.dim() else ()
    )


def _quartiles(values: Any) -> list[Any]:
    """The exact quartiles, from below."""
    flat = values.reshape(-1)
    ranks = [int(share * (flat.numel() - 1)) for share in (0.25, 0.5, 0.75)]
    return [flat.kthvalue(rank + 1).values for rank in ranks]


ARCEE_FUSION = Method(
    name="arcee_fusion",
    doc="Takes over the most important changes of one model, and leaves the base elsewhere.",
    formula="θ₁ where |δ| · KL(softmax θ₁ ‖ softmax θ₀) ≥ median + 1.5 (q₃ − q₁), else θ₀; KL per row",
    source="Arcee AI; mergekit",
    parameters=(),
    compute=arcee_fusion,
    base="required",
    max_models=1,
)
