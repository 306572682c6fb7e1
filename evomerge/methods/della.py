"""DELLA: entries are dropped at random, the small ones of a row more often than the large ones."""

from evomerge.methods.arithmetic import elect_kernel, sum_kernel
from evomerge.methods.base import Method, Parameter, Trim
from evomerge.methods.parameters import (
    DELTA_WEIGHT,
    INT8_MASK,
    LAMBDA,
    density,
    normalize,
    rescale,
    rescale_by,
)

_PARAMETERS = (
    DELTA_WEIGHT,
    density((0.3, 0.7)),
    Parameter(
        "epsilon",
        "half the difference between the largest and the smallest entry's chance; "
        "density ± epsilon lies in (0, 1)",
        0.15,
        per_model=True,
        low=0.0,
        high=0.5,
        search=(0.02, 0.29),
    ),
    normalize(True),
    LAMBDA,
    rescale(True),
    rescale_by("1 / an entry's chance"),
    INT8_MASK,
)
_FORMULA = "P(keep) = d − ε + 2ε · rank / (columns − 1), ranks of |δ| within a row"
DELLA = Method(
    name="della",
    doc="Drops entries by the rank of their magnitude within a row, elects signs, merges.",
    formula=f"θ₀ + λ Σ wᵢ δ̂ᵢ mᵢ / Σ wᵢ mᵢ,  {_FORMULA}",
    source="Deep et al. 2024, DELLA-Merging",
    parameters=_PARAMETERS,
    kernel=elect_kernel,
    base="required",
    trim=Trim.RANKED,
)
DELLA_LINEAR = Method(
    name="della_linear",
    doc="DELLA's masks without the election.",
    formula=f"θ₀ + λ Σ wᵢ δ̂ᵢ / Σ wᵢ,  {_FORMULA}",
    source="Deep et al. 2024, DELLA-Merging",
    parameters=_PARAMETERS,
    kernel=sum_kernel,
    base="required",
    trim=Trim.RANKED,
)
