"""Parameters that several methods share."""

from typing import Literal

from evomerge.methods.base import Parameter

MODEL_WEIGHT = Parameter("weight", "weight of a model", None, per_model=True, search=(0.0, 1.5))
DELTA_WEIGHT = Parameter(
    "weight", "weight of a model's delta", None, per_model=True, search=(0.0, 1.5)
)
LAMBDA = Parameter("lambda", "scale of the merged delta", 1.0, search=(0.1, 2.0))
INT8_MASK = Parameter("int8_mask", "accepted and without effect", False, kind="bool")


def normalize(default: bool) -> Parameter:
    """Whether the sum is divided by the weights."""
    return Parameter("normalize", "divide by the sum of the weights", default, kind="bool")


def rescale(default: bool) -> Parameter:
    """Whether a trimmed delta gets its L1 norm back."""
    return Parameter("rescale", "keep the L1 norm of a delta", default, kind="bool")


def rescale_by(factor: str) -> Parameter:
    """How a delta that was thinned at random is scaled up again."""
    return Parameter(
        "rescale_by",
        f"`norm`: the L1 norm of the delta; `probability`: {factor} (the paper)",
        "norm",
        kind="choice",
        choices=("norm", "probability"),
    )


def density(search: tuple[float, float], scale: Literal["linear", "log"] = "linear") -> Parameter:
    """The share of a delta that is kept."""
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


def scope(*choices: str) -> Parameter:
    """Over which entries magnitudes are ranked."""
    return Parameter(
        "scope",
        "entries are ranked by magnitude within a `tensor`, a `row`, or the whole `model`",
        "tensor",
        kind="choice",
        choices=choices or ("tensor", "row", "model"),
    )


ELECTION = Parameter(
    "election",
    "sign by the `sum` of the weighted deltas, or by the `count` of their signs",
    "sum",
    kind="choice",
    choices=("sum", "count"),
)
