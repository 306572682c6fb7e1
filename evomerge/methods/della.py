"""DELLA: entries are dropped at random, the small ones of a row more often than the large ones."""

from collections.abc import Sequence
from dataclasses import replace

from evomerge.methods.arithmetic import elect_kernel, sum_kernel
from evomerge.methods.base import Method, Parameter, Trim, Values
from evomerge.methods.parameters import (
    DELTA_WEIGHT,
    INT8_MASK,
    LAMBDA,
    density,
    normalize,
    rescale,
    rescale_by,
)


def _parameters(normalized: bool) -> tuple[Parameter, ...]:
    return (
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
        normalize(normalized),
        LAMBDA,
        rescale(True),
        rescale_by("1 / an entry's chance"),
        INT8_MASK,
    )


def chances_problem(_: Values, own: Sequence[Values]) -> str | None:
    """What is wrong where a chance would lie outside (0, 1); None for nothing."""
    for values in own:
        share, epsilon = float(values["density"]), float(values["epsilon"])
        if share < 1.0 and not (share - epsilon > 0.0 and share + epsilon < 1.0):
            return f"density {share:g} ± epsilon {epsilon:g} leaves (0, 1)"
    return None


_FORMULA = "P(keep) = d − ε + 2ε · rank / (columns − 1), ranks of |δ| within a row"
DELLA = Method(
    name="della",
    doc="Drops entries by the rank of their magnitude within a row, elects signs, merges.",
    formula=f"θ₀ + λ Σ wᵢ δ̂ᵢ mᵢ / Σ wᵢ mᵢ,  {_FORMULA}",
    source="Deep et al. 2024, DELLA-Merging",
    parameters=_parameters(True),
    check=chances_problem,
    kernel=elect_kernel,
    base="required",
    trim=Trim.RANKED,
)
DELLA_LINEAR = replace(
    DELLA,
    name="della_linear",
    doc="DELLA's masks without the election.",
    formula=f"θ₀ + λ Σ wᵢ δ̂ᵢ,  {_FORMULA}",
    parameters=_parameters(False),
    kernel=sum_kernel,
)
