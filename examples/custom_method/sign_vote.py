"""A merge method of one's own: the mean change, where enough models change an entry in the same direction.

Nothing here imports torch: `compute` uses methods of the tensors that it is given.
"""

from __future__ import annotations

from typing import Any

from evomerge.methods import Method, Parameter, Tensors


def vote(tensors: Tensors) -> Any:
    """fp32 of the tensor's shape: the base, plus the mean delta where the vote is clear enough."""
    deltas = [model - tensors.base for model in tensors.models]
    count = len(deltas)
    agreement = sum(delta.sign() for delta in deltas).abs() / count
    mean = sum(deltas) / count
    clear = (agreement >= tensors.values["agreement"]).to(mean.dtype)
    return tensors.base + tensors.values["lambda"] * clear * mean


SIGN_VOTE = Method(
    name="sign_vote",
    doc="The mean delta, where the models' signs agree.",
    formula="θ₀ + λ · [|Σ sign δᵢ| / N ≥ a] · mean(δᵢ)",
    source="an example",
    parameters=(
        Parameter(
            "agreement", "how clear a vote has to be", 0.5, low=0.0, high=1.0, search=(0.0, 1.0)
        ),
        Parameter("lambda", "scale of the merged delta", 1.0, search=(0.5, 2.0)),
    ),
    compute=vote,
    entrywise=True,
    base="required",
)
