"""Model Breadcrumbs: of each delta both the small entries and the outliers are dropped.

The published code ranks within rows (`scope: row`), mergekit within a tensor.
"""

from dataclasses import replace

from evomerge.methods.arithmetic import elect_kernel, sum_kernel
from evomerge.methods.base import Method, Parameter, Trim
from evomerge.methods.parameters import (
    DELTA_WEIGHT,
    INT8_MASK,
    LAMBDA,
    density,
    normalize,
    rescale,
    scope,
)

_PARAMETERS = (
    DELTA_WEIGHT,
    density((0.05, 0.95)),
    Parameter(
        "gamma",
        "share of the largest entries that are dropped (none at density 1)",
        0.01,
        per_model=True,
        low=0.0,
        high=1.0,
        search=(0.0, 0.05),
    ),
    normalize(False),
    LAMBDA,
    rescale(False),
    scope("tensor", "row"),
    INT8_MASK,
)
BREADCRUMBS = Method(
    name="breadcrumbs",
    doc="Drops each delta's small entries and its outliers, adds the rest to the base.",
    formula="θ₀ + λ Σ wᵢ δ̂ᵢ,  δ̂ without its ⌊γn⌋ largest, then its ⌊dn⌋ largest",
    source="Davari and Belilovsky 2024, Model Breadcrumbs",
    parameters=_PARAMETERS,
    kernel=sum_kernel,
    base="required",
    trim=Trim.BAND,
)
BREADCRUMBS_TIES = replace(
    BREADCRUMBS,
    name="breadcrumbs_ties",
    doc="Breadcrumbs' masks with TIES' sign election.",
    formula="θ₀ + λ Σ wᵢ δ̂ᵢ mᵢ,  mᵢ as in ties",
    source="mergekit, after Davari and Belilovsky 2024 and Yadav et al. 2023",
    kernel=elect_kernel,
)
