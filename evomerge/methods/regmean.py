"""RegMean: the linear layer whose outputs are nearest to those of all models, each on its own inputs.

A least-squares problem that Gram matrices of the inputs solve in closed form. It is solved here for the
difference from the first model: where models hardly differ, nothing is lost in large sums. Directions that
no input has are left to the ridge, which draws towards the average and not towards 0; the paper's bare
inverse has no answer there.
"""

from functools import partial
from typing import Any

from evomerge.methods.averages import MODEL_SHARE, average, measured, shares
from evomerge.methods.base import Measurement, Method, Parameter, Tensors, Values


def statistics(values: Values) -> tuple[str, ...]:
    """Gram matrices of the inputs."""
    del values
    return ("input_grams",)


def merge(tensors: Tensors) -> Any:
    """(Σ wᵢ Ĝᵢ)⁻¹ Σ wᵢ Ĝᵢ Wᵢᵀ for linear layers whose inputs are known; the average of all else."""
    weights = shares(tensors)
    grams = measured(tensors, "input_grams")
    trace = 0.0 if grams is None else sum(w * g.trace for w, g in zip(weights, grams, strict=True))
    if grams is None or not trace > 0:
        return average(tensors.models, weights)
    key = (*(gram.mark for gram in grams), *weights, *_settings(tensors.values))
    solve = tensors.recent(key, lambda: _factor(tensors, grams, weights, trace))
    if solve is None:
        return average(tensors.models, weights)
    return _solution(tensors, grams, weights, trace, solve)


def _settings(values: Values) -> tuple[float, float]:
    return float(values["alpha"]), float(values["ridge"])


def _factor(tensors: Tensors, grams: list[Measurement], weights: list[float], trace: float) -> Any:
    """Solves with Σ wᵢ Ĝᵢ + ρ I; None where that is singular."""
    alpha, ridge = _settings(tensors.values)
    total_NN = average([gram.value.double() for gram in grams], weights)
    diagonal_N = total_NN.diagonal()
    scaled_NN = total_NN * alpha
    scaled_NN.diagonal().copy_(diagonal_N + ridge * trace / len(diagonal_N))
    return tensors.factorise(scaled_NN)


def _solution(
    tensors: Tensors, grams: list[Measurement], weights: list[float], trace: float, solve: Any
) -> Any:
    """The first model and what is added to it, in the tensor's own orientation."""
    alpha, ridge = _settings(tensors.values)
    flip = grams[0].axis != 0
    first_NO, *others_NO = [_columns(model, flip) for model in tensors.models]
    right_NO = first_NO * 0.0
    for model_NO, gram, weight in zip(others_NO, grams[1:], weights[1:], strict=True):
        delta_NO = model_NO - first_NO
        # G (W − W₁) is the same for every candidate.
        full_NO = tensors.keep(
            ("gram_product", grams[0].mark, gram.mark, tensors.name),
            partial(_product, gram.value, delta_NO),
        )
        diagonal_N1 = gram.value.diagonal().double()[:, None]
        right_NO += (full_NO * alpha + diagonal_N1 * delta_NO * (1 - alpha)) * weight
        right_NO += delta_NO * (weight * ridge * trace / len(delta_NO))
    merged_NO = first_NO + solve(right_NO)
    return (merged_NO.T if flip else merged_NO).float()


def _product(gram_NN: Any, delta_NO: Any) -> Any:
    return gram_NN.double() @ delta_NO


def _columns(tensor: Any, flip: bool) -> Any:
    """[n, o] in fp64, a column for each output."""
    wide = tensor.double()
    return wide.T if flip else wide


REGMEAN = Method(
    name="regmean",
    doc="The linear layer with the outputs nearest to all models', on the inputs that each one meets; "
    "all that is no linear layer is averaged.",
    formula="Wᵀ = (Σ wᵢ Ĝᵢ)⁻¹ Σ wᵢ Ĝᵢ Wᵢᵀ,  Ĝ = α G + (1−α) diag(G),  G = E xᵀx",
    source="Jin et al. 2023, Dataless knowledge fusion by merging weights of language models",
    parameters=(
        MODEL_SHARE,
        Parameter(
            "alpha",
            "factor of the Gram matrices' entries off the diagonal",
            0.9,
            low=0.0,
            high=1.0,
            search=(0.0, 1.0),
        ),
        Parameter(
            "ridge",
            "how much the average is drawn to, in parts of the Gram matrices' mean diagonal",
            1e-6,
            low=0.0,
            search=(1e-8, 1e-2),
            scale="log",
        ),
    ),
    compute=merge,
    statistics=statistics,
)
