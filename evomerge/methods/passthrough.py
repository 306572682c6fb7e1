"""Layers as they are, perhaps scaled: for stacking layers of one or several models.

With slices this is the data-flow space of Sakana's evolutionary merge (Akiba et al. 2024): a layer
whose `o_proj` and `down_proj` are scaled by 0 passes its input on, and dividing both by s has the
effect of scaling the layer's input by s, where the layer normalises its input.
"""

import numpy as np
from numpy.typing import NDArray

from evomerge.methods.arithmetic import linear_kernel
from evomerge.methods.base import Measured, Method, Parameter


def scales(measured: Measured) -> NDArray[np.float64]:
    """The one model's scale."""
    return np.array([float(values["scale"]) for values in measured.own])


PASSTHROUGH = Method(
    name="passthrough",
    doc="Copies a model's layers, scaled where asked; with slices, stacks layers of several models.",
    formula="θ = s θ₁",
    source="Akiba et al. 2024, Evolutionary optimization of model merging recipes (data-flow space)",
    parameters=(
        Parameter(
            "scale", "factor on the tensor", 1.0, per_model=True, search=(0.5, 2.0), scale="log"
        ),
    ),
    kernel=linear_kernel,
    max_models=1,
    coefficients=scales,
)
