"""RAM: entries that one model alone changed are added whole, those that several changed averaged."""

from typing import Any

from evomerge.methods.base import Method, Parameter, Tensors

_EPSILON = Parameter("epsilon", "changes up to this count as none", 1e-5, low=0.0)


def ram(tensors: Tensors) -> Any:
    """θ₀ + Σ of the changed deltas, divided by how many changed the entry."""
    changed, counts = _changed(tensors)
    return tensors.base + sum(changed) / counts.clamp_min(1)


def ramplus(tensors: Tensors) -> Any:
    """The same, unshared entries amplified by 1 + r min(α, shared / unshared) of their model."""
    changed, counts = _changed(tensors)
    r, alpha = float(tensors.values["r"]), float(tensors.values["alpha"])
    epsilon = float(tensors.values["epsilon"])
    alone, total = counts == 1, 0.0
    for delta in changed:
        mine = delta != 0
        unshared = max(int((mine & alone).sum()), epsilon)
        share = min(max(int((mine & ~alone).sum()) / unshared, 0.0), alpha)
        total = total + (delta * (1.0 + r * share)).where(alone, delta / counts.clamp_min(1))
    return tensors.base + total


def _changed(tensors: Tensors) -> tuple[list[Any], Any]:
    epsilon = float(tensors.values["epsilon"])
    deltas = [model - tensors.base for model in tensors.models]
    changed = [delta.where(delta.abs() > epsilon, 0.0) for delta in deltas]
    return changed, sum((delta != 0).int() for delta in changed)


RAM = Method(
    name="ram",
    doc="Adds what one model alone changed, averages what several changed.",
    formula="θ₀ + Σ δ̂ᵢ / nᵢ,  δ̂ without changes up to ε, n the number of models that changed an entry",
    source="Reinforced Agent Merging 2026 (arXiv 2601.13572); mergekit",
    parameters=(_EPSILON,),
    compute=ram,
    entrywise=True,
    base="required",
)
RAMPLUS_TL = Method(
    name="ramplus_tl",
    doc="RAM, with what one model alone changed amplified the more, the more that model shares.",
    formula="θ₀ + Σ gᵢ δ̂ᵢ / n,  g = 1 + r · min(α, shared / unshared) where n = 1, else 1",
    source="Reinforced Agent Merging 2026 (arXiv 2601.13572); mergekit",
    parameters=(
        Parameter("r", "strength of the amplification", 0.1, low=0.0, search=(0.0, 1.0)),
        Parameter("alpha", "most that sharing counts", 0.2, low=0.0, search=(0.0, 1.0)),
        _EPSILON,
    ),
    compute=ramplus,
    base="required",
)
