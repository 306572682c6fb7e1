"""Model Stock: how far from the base the average of the models should lie, from their angles."""

import numpy as np
from numpy.typing import NDArray

from evomerge.methods.arithmetic import sum_kernel
from evomerge.methods.base import Measured, Method, Parameter, Span, Values


def vectors(values: Values) -> Span:
    """One angle a tensor, or one a row."""
    return "row" if values["filter_wise"] else "tensor"


def coefficients(measured: Measured) -> NDArray[np.float64]:
    """t / N for every delta, t = N c̄ / (1 + (N−1) c̄) between 0 and 1."""
    count = measured.size
    above = np.triu_indices(count, 1)
    mean = measured.cosines[..., above[0], above[1]].mean(-1)
    # Opposed deltas would send t to infinity: the base is the best that can be said then.
    mean = np.maximum(mean, 0.0)
    share = count * mean / (1.0 + (count - 1) * mean) / count
    scaled: NDArray[np.float64] = share * float(measured.values["t_scale"])
    return np.repeat(scaled[..., None], count, -1)


MODEL_STOCK = Method(
    name="model_stock",
    doc="Between the base and the average of the models, as near to the average as their angles agree.",
    formula="t · mean(θᵢ) + (1−t) θ₀,  t = N c̄ / (1 + (N−1) c̄),  c̄ = mean cos(δᵢ, δⱼ), at least 0",
    source="Jang et al. 2024, Model Stock",
    parameters=(
        Parameter("filter_wise", "one angle a row, not one a tensor", False, kind="bool"),
        Parameter("t_scale", "factor on t (not in mergekit)", 1.0, low=0.0, search=(0.5, 1.5)),
    ),
    kernel=sum_kernel,
    base="required",
    min_models=2,
    coefficients=coefficients,
    vectors=vectors,
)
