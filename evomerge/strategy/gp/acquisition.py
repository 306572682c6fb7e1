"""Where to look next: the logarithm of the expected improvement, and how its top is found.

The logarithm has a slope where the improvement itself has underflowed to 0 (Ament et al. 2023,
Unexpected Improvements to Expected Improvement).
"""

import math
from collections.abc import Callable

import numpy as np
from scipy.optimize import minimize
from scipy.special import erfcx, log_ndtr

from evomerge.strategy.gp.process import Floats, Posterior

_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
_FAR = 1e4
"""Standard deviations beyond which the tail is taken in the limit."""


def log_expected_improvement(posterior: Posterior, best: float, x_MD: Floats) -> Floats:
    """How much lower than `best` the function is expected to be at M places, as a logarithm."""
    mean_M, deviation_M = posterior.predict(x_MD)
    return np.log(deviation_M) + _log_h((best - mean_M) / deviation_M)


def climb(posterior: Posterior, best: float, x_D: Floats, low_D: Floats, high_D: Floats) -> Floats:
    """The top of the log expected improvement that is reached from `x_D`; `low_D == high_D`: fixed."""
    free = np.flatnonzero(high_D > low_D)
    if not len(free):
        return x_D
    whole_D = x_D.copy()

    def negative(part: Floats) -> tuple[float, Floats]:
        whole_D[free] = part
        mean, deviation, mean_slope_D, deviation_slope_D = posterior.slopes(whole_D)
        z = (best - mean) / deviation
        height = float(_log_h(np.array([z]))[0])
        steep = math.exp(min(float(log_ndtr(z)) - height, 700.0))
        slope_D = deviation_slope_D / deviation * (1 - steep * z) - steep * mean_slope_D / deviation
        return -(math.log(deviation) + height), -slope_D[free]

    return _descend(negative, x_D, free, low_D, high_D)


def descend(posterior: Posterior, x_D: Floats, low_D: Floats, high_D: Floats) -> Floats:
    """The lowest posterior mean that is reached from `x_D`."""
    free = np.flatnonzero(high_D > low_D)
    if not len(free):
        return x_D
    whole_D = x_D.copy()

    def mean(part: Floats) -> tuple[float, Floats]:
        whole_D[free] = part
        value, _, slope_D, _ = posterior.slopes(whole_D)
        return value, slope_D[free]

    return _descend(mean, x_D, free, low_D, high_D)


def _descend(
    function: Callable[[Floats], tuple[float, Floats]],
    x_D: Floats,
    free: "np.ndarray[tuple[int], np.dtype[np.intp]]",
    low_D: Floats,
    high_D: Floats,
) -> Floats:
    bounds = list(zip(low_D[free], high_D[free], strict=True))
    options = {"maxiter": 40}
    found = minimize(
        function, x_D[free], jac=True, method="L-BFGS-B", bounds=bounds, options=options
    )
    whole_D = x_D.copy()
    whole_D[free] = np.clip(found.x, low_D[free], high_D[free])
    return whole_D


def _log_h(z_M: Floats) -> Floats:
    """log(phi(z) + z Phi(z)), stable far below 0."""
    near_M = np.maximum(z_M, -1.0)
    density_M = np.exp(-(near_M**2) / 2 - _LOG_ROOT_2PI)
    right_M = np.log(density_M + near_M * np.exp(log_ndtr(near_M)))
    far_M = np.clip(-z_M, 1.0, _FAR)
    rest_M = -far_M * math.sqrt(math.pi / 2) * erfcx(far_M / math.sqrt(2))
    left_M = np.where(far_M > 100, -2 * np.log(far_M), np.log1p(np.maximum(rest_M, -1 + 1e-12)))
    left_M -= np.minimum(z_M, -1.0) ** 2 / 2 + _LOG_ROOT_2PI
    return np.where(z_M > -1, right_M, left_M)
