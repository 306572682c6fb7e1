"""The Karcher mean: the point on the sphere with the least sum of squared angles to the models.

Every step of the iteration stays in the span of the models, so it runs on their inner products: N×N
numbers in float64, whatever the size of the tensor.
"""

import numpy as np
from numpy.typing import NDArray

from evomerge.methods.arithmetic import linear_kernel
from evomerge.methods.base import Measured, Method, Parameter, whole_tensor

Vector = NDArray[np.float64]


def coefficients(measured: Measured) -> Vector:
    """The mean direction times the mean norm, as weights of the models."""
    norms, tol = measured.norms, float(measured.values["tol"])
    if measured.size == 1:
        return np.ones(1)
    valid = norms > tol
    if not valid.any():
        return np.zeros(measured.size)
    cosines = measured.cosines
    share: Vector = valid / valid.sum()
    mean = _start(share, cosines, valid, tol)
    for _ in range(int(measured.values["max_iter"])):
        moved = _step(mean, share, cosines, tol)
        if moved is None:
            break
        mean = moved
    scale = norms.mean()
    scaled: Vector = np.where(valid, mean / np.where(valid, norms, 1.0), 0.0) * scale
    return scaled


def _start(share: Vector, cosines: Vector, valid: NDArray[np.bool_], tol: float) -> Vector:
    """The normalised mean of the unit vectors; the first of them where it vanishes."""
    length = _length(share, cosines)
    if length >= tol:
        return share / length
    first = np.zeros_like(share)
    first[int(np.argmax(valid))] = 1.0
    return first


def _step(mean: Vector, share: Vector, cosines: Vector, tol: float) -> Vector | None:
    """One step along the mean of the logarithms; None where it is shorter than `tol`."""
    dots = np.clip(cosines @ mean, -1.0, 1.0)
    angles = np.arccos(dots)
    far = (angles >= tol) & (share > 0)
    pull = np.where(far, share * angles / np.where(far, np.sin(angles), 1.0), 0.0)
    tangent = pull - (pull @ dots) * mean
    length = _length(tangent, cosines)
    if length < tol:
        return None
    moved: Vector = np.cos(length) * mean + np.sin(length) * tangent / length
    size = _length(moved, cosines)
    return moved / size if size > tol else moved


def _length(vector: Vector, cosines: Vector) -> float:
    return float(np.sqrt(max(float(vector @ cosines @ vector), 0.0)))


KARCHER = Method(
    name="karcher",
    doc="The mean of the models on the sphere, with the mean of their norms; weights are equal.",
    formula="u ← exp_u(Σ log_u(uᵢ) / N) until it rests;  θ = u · Σ‖θᵢ‖ / N",
    source="Karcher 1977; mergekit",
    parameters=(
        Parameter("max_iter", "steps at most", 10.0, kind="int", low=0.0, high=1000.0),
        Parameter("tol", "angles below this are zero", 1e-5, low=0.0, low_open=True),
    ),
    kernel=linear_kernel,
    coefficients=coefficients,
    vectors=whole_tensor,
)
