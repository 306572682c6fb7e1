"""What DAM minimises: how far the merged model's answers are from a teacher's, and terms on coefficients."""

from collections.abc import Iterable, Mapping
from itertools import combinations

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, kl_div, mse_loss


def divergence(kind: str, teacher_TV: Tensor, merged_TV: Tensor, temperature: float) -> Tensor:
    """Mean over T tokens of KL(teacher ‖ merged) · T², of the squared distance of logits, or of entropy."""
    if kind == "mse":
        return mse_loss(merged_TV, teacher_TV)
    merged = (merged_TV / temperature).log_softmax(-1)
    if kind == "entropy":
        return -(merged.exp() * merged).sum(-1).mean()
    teacher = (teacher_TV / temperature).log_softmax(-1)
    total = kl_div(merged, teacher, reduction="sum", log_target=True)
    return total / len(merged_TV) * temperature**2


def similarity(coefficients: Iterable[Tensor]) -> Tensor:
    """Σ over tensors of the mean cosine of pairs of models' coefficients [N, k]."""
    terms = [
        torch.stack([cosine_similarity(one, other, dim=0) for one, other in pairs]).mean()
        for values in coefficients
        if (pairs := list(combinations(values.flatten(1), 2)))
    ]
    return torch.stack(terms).sum()


def overlap(
    coefficients: Mapping[str, Tensor], weights: Mapping[str, Tensor] | None = None
) -> Tensor:
    """Σ min(|cᵢ|, |cⱼ|) over pairs of models and columns, weighted by [pairs, k] where given."""
    terms = []
    for name, values in coefficients.items():
        pairs = combinations(values.flatten(1).abs(), 2)
        shared = torch.stack([torch.minimum(one, other) for one, other in pairs])
        known = None if weights is None else weights.get(name)
        if weights is None or known is not None:
            terms.append((shared if known is None else shared * known).sum())
    return torch.stack(terms).sum() if terms else torch.zeros(())


def pair_weights(deltas: list[Tensor], columns: int) -> Tensor:
    """sin²(2∠) of each pair of models' delta columns [pairs, k]: 0 where they agree or are orthogonal.

    Args:
        deltas: [o, n] each, columns last. columns: k, 1 for one angle a tensor.
    """
    found = []
    for one, other in combinations(deltas, 2):
        left, right = (x.reshape(-1, 1) if columns == 1 else x for x in (one, other))
        cosine = cosine_similarity(left.float(), right.float(), dim=0).clamp(-1, 1)
        found.append((4 * cosine.square() * (1 - cosine.square())).clamp_min(0))
    return torch.stack(found)


def powers(coefficients: Iterable[Tensor], power: int) -> Tensor:
    """Σ |c|, or Σ c²."""
    return torch.stack([values.abs().pow(power).sum() for values in coefficients]).sum()
