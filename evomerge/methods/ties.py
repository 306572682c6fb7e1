"""TIES: trim each delta to its largest entries, elect a sign per entry, merge those that agree.

The published code ranks magnitudes over the whole model (`scope: model`), mergekit within a tensor.
Where a vote is undecided, the sign is positive.
"""

from evomerge.methods.arithmetic import elect_kernel
from evomerge.methods.base import Method, Trim
from evomerge.methods.parameters import (
    DELTA_WEIGHT,
    ELECTION,
    INT8_MASK,
    LAMBDA,
    density,
    normalize,
    rescale,
    scope,
)

TIES = Method(
    name="ties",
    doc="Keeps each delta's largest entries, elects a sign per entry, averages those that agree "
    "(sums them with `normalize: false`).",
    formula="θ₀ + λ Σ wᵢ δ̂ᵢ mᵢ / Σ wᵢ mᵢ,  mᵢ = [sgn(wᵢ δ̂ᵢ) = sgn(Σ wⱼ δ̂ⱼ)]",
    source="Yadav et al. 2023",
    parameters=(
        DELTA_WEIGHT,
        density((0.05, 1.0)),
        normalize(True),
        LAMBDA,
        rescale(False),
        scope(),
        ELECTION,
        INT8_MASK,
    ),
    kernel=elect_kernel,
    base="required",
    trim=Trim.MAGNITUDE,
)
