"""Sens-Merging: each model's weight in a layer from how sensitive its task is there, and from how far its
answers lie from the others'.

A layer's sensitivity of a model is the sum of |θ ∂L/∂θ| on its own texts. The second factor rewards models
whose logits differ from those of the others on the others' texts; the paper calls that alignment, and
`between: similarity` is what the word would mean. Weights sum to λ N in each layer, as those of task
arithmetic do. The same weights serve TIES and DARE.
"""

import numpy as np
from numpy.typing import NDArray

from evomerge.methods.arithmetic import elect_kernel, sum_kernel
from evomerge.methods.base import Kernel, Method, Parameter, Trim, Values, Weighing
from evomerge.methods.parameters import (
    ELECTION,
    LAMBDA,
    density,
    normalize,
    rescale,
    rescale_by,
    scope,
)

Vector = NDArray[np.float64]


def statistics(values: Values) -> tuple[str, ...]:
    """Sensitivities on the own texts, logits on everybody's."""
    del values
    return ("sensitivity", "logits")


def weigh(weighing: Weighing) -> Vector:
    """N softmax(α τ / T) over the models, times their own weights; 1 outside the layers."""
    own = np.array([float(values["weight"]) for values in weighing.own])
    if weighing.layer is None:
        return own
    scores = weighing.scores[weighing.layer]
    norms = np.sqrt(sum(found**2 for found in weighing.scores.values()))
    alpha = np.divide(scores, norms, out=np.zeros_like(scores), where=norms > 0)
    heat = float(weighing.values["temperature"])
    raised = alpha * _between(weighing.distances, str(weighing.values["between"])) / heat
    power = np.exp(raised - raised.max())
    weights: Vector = own * len(own) * power / power.sum()
    return weights


def _between(distances: Vector, mode: str) -> Vector:
    """τ: each model's distance to the others, as a share of all; or what is left of it."""
    count = len(distances)
    away = distances.sum(axis=1) - distances.diagonal()
    if count == 1 or not away.sum() > 0:
        return np.full(count, 1.0 / count)
    share: Vector = away / away.sum()
    return share if mode == "distance" else (1.0 - share) / (count - 1)


def _method(name: str, then: str, kernel: Kernel, trim: Trim, *parameters: Parameter) -> Method:
    return Method(
        name=name,
        doc=f"Weighs the models in each layer by sensitivity, then {then}.",
        formula="wᵢˡ = N softmaxᵢ(αᵢˡ τᵢ / T),  αᵢˡ = sᵢˡ / ‖sᵢ‖,  sᵢˡ = E Σ |θ ∂L/∂θ|,  "
        "τᵢ ∝ Σ E ‖zᵢ − zⱼ‖ on the texts of j",
        source="Liu et al. 2025, Sens-Merging (code unpublished; after a third party's baseline)",
        parameters=(
            Parameter(
                "weight", "factor on a model's weight", 1.0, per_model=True, search=(0.0, 1.5)
            ),
            Parameter(
                "temperature",
                "T: 1 hardly tells models apart, 0.05 chooses",
                1.0,
                low=0.0,
                low_open=True,
                search=(0.01, 1.0),
                scale="log",
            ),
            Parameter(
                "between",
                "τ grows with the `distance` of logits, or with their `similarity`",
                "distance",
                kind="choice",
                choices=("distance", "similarity"),
            ),
            LAMBDA,
            *parameters,
        ),
        kernel=kernel,
        base="required",
        trim=trim,
        statistics=statistics,
        weigh=weigh,
    )


SENS_MERGING = _method("sens_merging", "adds their deltas", sum_kernel, Trim.NONE)
SENS_TIES = _method(
    "sens_ties",
    "merges as TIES does",
    elect_kernel,
    Trim.MAGNITUDE,
    density((0.05, 1.0)),
    normalize(True),
    rescale(False),
    scope(),
    ELECTION,
)
SENS_DARE = _method(
    "sens_dare",
    "adds their deltas, thinned as DARE does",
    sum_kernel,
    Trim.RANDOM,
    density((0.01, 1.0), "log"),
    normalize(False),
    rescale(True),
    rescale_by("1 / density"),
)
