"""The values that policy `default` takes: those of the papers, where they are no default here.

Methods in `evomerge.methods` have mergekit's defaults where mergekit has the method, so that its files
mean the same. A study compares what was published.
"""

from collections.abc import Mapping
from types import MappingProxyType

from evomerge.controller.baselines import DARE_DENSITY, TASK_ARITHMETIC_LAMBDA, TIES_DENSITY
from evomerge.methods.base import Value

_DELLA: dict[str, Value] = {"density": 0.7, "epsilon": 0.07, "lambda": 1.1}
_BREADCRUMBS: dict[str, Value] = {"density": 0.15, "gamma": 0.006, "lambda": 0.2, "scope": "row"}
PUBLISHED: Mapping[str, Mapping[str, Value]] = MappingProxyType(
    {
        # Ilharco et al. 2023: one coefficient for the sum, 0.3 to 0.5 near the best.
        "task_arithmetic": {"lambda": TASK_ARITHMETIC_LAMBDA},
        # Yadav et al. 2023: the largest 20 %, λ = 1, mean over the entries that agree.
        "ties": {"density": TIES_DENSITY, "lambda": 1.0, "normalize": True},
        # Yu et al. 2024: entries divided by the chance to be kept; then each method's own λ.
        "dare_linear": {
            "density": DARE_DENSITY,
            "lambda": TASK_ARITHMETIC_LAMBDA,
            "rescale_by": "probability",
        },
        "dare_ties": {
            "density": DARE_DENSITY,
            "lambda": 1.0,
            "normalize": True,
            "rescale_by": "probability",
        },
        # Deep et al. 2024, the published code: drop rate 0.3, window 0.14, λ = 1.1.
        "della": {**_DELLA, "rescale_by": "probability"},
        "della_linear": {**_DELLA, "rescale_by": "probability"},
        # Davari and Belilovsky 2024, the published code's probe.
        "breadcrumbs": _BREADCRUMBS,
        # Wan et al. 2024, FuseChat: the 10 % that vary most.
        "sce": {"select_topk": 0.1},
        # Jin et al. 2023: 0.9 in the published configurations of the larger models.
        "regmean": {"alpha": 0.9},
    }
)
"""By method; what is not named has the method's own default. Models have weight 1 each."""


def published(method: str) -> Mapping[str, Value]:
    """The published hyperparameters of a method."""
    return PUBLISHED.get(method, {})
