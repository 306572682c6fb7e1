"""MaTS: the models' parameters matched in the subspaces of their tasks, by conjugate gradients.

Solves Σ wᵢ Aᵢ V Bᵢ = Σ wᵢ Aᵢ Vᵢ Bᵢ for V. Where that has many solutions, or the steps end early, what is
left is the start: so the number of steps and the start are knobs as well. With the covariance alone and
steps until it rests this is RegMean with α = 1.
"""

from collections.abc import Callable, Sequence
from typing import Any

from evomerge.methods.averages import MODEL_SHARE, average, shares
from evomerge.methods.base import Measurement, Method, Parameter, Tensors, Values

_STATISTICS = {
    "covariance": ("input_grams",),
    "kfac": ("input_grams", "output_gradient_grams"),
    "fisher": ("fisher",),
}
Operator = Callable[[Any], Any]
_NOISE = 1e-7
"""Curvature, as a share of the largest met, below which fp32 matrices say nothing of a direction."""


def statistics(values: Values) -> tuple[str, ...]:
    """One factor, two, or a diagonal."""
    return _STATISTICS[str(values["objective"])]


def merge(tensors: Tensors) -> Any:
    """Conjugate gradients from the start that is asked for; the average of what has no statistics."""
    weights = shares(tensors)
    names = statistics(tensors.values)
    found = [[known.get(name) for name in names] for known in tensors.measured]
    if not all(one is not None for known in found for one in known):
        return average(tensors.models, weights)
    operators = [_operator(known, tensors.values) for known in found]
    models = [model.double() for model in tensors.models]
    start = _start(tensors, weights).double()
    return _solve(start, models, operators, weights, tensors.values).float()


def _operator(known: Sequence[Measurement | None], values: Values) -> Operator:
    """V ↦ A V B of one model, on tensors in their own orientation."""
    factors = [one for one in known if one is not None]
    if values["objective"] == "fisher":
        diagonal = factors[0].value.double()
        return lambda tensor: diagonal * tensor
    inner = _shrunk(factors[0], values)
    outer = _shrunk(factors[1], values) if len(factors) > 1 else None
    inputs_first = factors[0].axis == 0

    def apply(tensor: Any) -> Any:
        left, right = (inner, outer) if inputs_first else (outer, inner)
        moved = tensor if left is None else left @ tensor
        return moved if right is None else moved @ right

    return apply


def _shrunk(factor: Measurement, values: Values) -> Any:
    """A factor in fp64 with its entries off the diagonal times α."""
    matrix = factor.value.double()
    shrunk = matrix * float(values["alpha"])
    shrunk.diagonal().copy_(matrix.diagonal())
    return shrunk


def _start(tensors: Tensors, weights: Sequence[float]) -> Any:
    start = str(tensors.values["start"])
    if start == "base":
        return tensors.base
    if start == "average":
        return average(tensors.models, weights)
    scale = float(tensors.values["lambda"])
    deltas = [model - tensors.base for model in tensors.models]
    return tensors.base + average(deltas, [scale] * len(deltas))


def _solve(
    start: Any,
    models: Sequence[Any],
    operators: Sequence[Operator],
    weights: Sequence[float],
    values: Values,
) -> Any:
    """At most `iterations` steps, until the residual is `tolerance` of the right-hand side."""

    def total(parts: Sequence[Any]) -> Any:
        pairs = zip(operators, parts, strict=True)
        return average([operator(part) for operator, part in pairs], weights)

    merged = start
    # b − A(V₀), without the difference of two large sums.
    residual = total([model - start for model in models])
    step, rest = residual, _dot(residual, residual)
    limit = float(values["tolerance"]) ** 2 * _norm_of_right(models, total)
    steepest = 0.0
    for _ in range(int(values["iterations"])):
        moved = total([step] * len(models))
        curvature = _dot(step, moved)
        length = _dot(step, step)
        steepest = max(steepest, curvature / length if length else 0.0)
        if rest <= limit or not curvature > _NOISE * steepest * length:
            break
        length = rest / curvature
        merged = merged + step * length
        residual = residual - moved * length
        rest, before = _dot(residual, residual), rest
        step = residual + step * (rest / before)
    return merged


def _norm_of_right(models: Sequence[Any], total: Callable[[Sequence[Any]], Any]) -> float:
    right = total(models)
    return _dot(right, right)


def _dot(one: Any, other: Any) -> float:
    return float((one * other).sum())


MATS = Method(
    name="mats",
    doc="Matches the models in their tasks' subspaces by conjugate gradients; what no statistic speaks "
    "of is averaged.",
    formula="Σ wᵢ Aᵢ V Bᵢ = Σ wᵢ Aᵢ Vᵢ Bᵢ,  V = Wᵀ;  A = E xᵀx;  B = I, or E gᵀg (K-FAC);  or A V B = F ⊙ V",
    source="Tam et al. 2024, Merging by matching models in task parameter subspaces",
    parameters=(
        MODEL_SHARE,
        Parameter(
            "objective",
            "`covariance` of the inputs, `kfac` (with gradients of the outputs), diagonal `fisher`",
            "covariance",
            kind="choice",
            choices=("covariance", "kfac", "fisher"),
        ),
        Parameter("iterations", "steps", 100.0, kind="int", low=0.0, search=(1.0, 300.0)),
        Parameter(
            "start",
            "`average`, `base`, or `task_arithmetic` with `lambda`",
            "average",
            kind="choice",
            choices=("average", "base", "task_arithmetic"),
        ),
        Parameter("lambda", "scale of the deltas' sum in the start", 0.3, search=(0.1, 1.0)),
        Parameter(
            "alpha",
            "factor of the matrices' entries off the diagonal",
            1.0,
            low=0.0,
            high=1.0,
            search=(0.0, 1.0),
        ),
        Parameter("tolerance", "residual at which it rests", 1e-5, low=0.0),
    ),
    compute=merge,
    base="required",
    statistics=statistics,
)
