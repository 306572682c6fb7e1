"""Where to look next: the logarithm of the expected improvement, and how its top is found.

The logarithm has a slope where the improvement itself has underflowed to 0 (Ament et al. 2023,
Unexpected Improvements to Expected Improvement). Shapes: M places, F features.
"""

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.optimize import minimize
from scipy.special import erfcx, log_ndtr

from evomerge.strategy.gp.process import Floats, Posterior

_LOG_ROOT_2PI = 0.5 * math.log(2 * math.pi)
_CLIMB = {"maxiter": 40}
_STEEPEST = 700.0
"""The largest exponent whose exponential is a number."""
_FAR = 1e4
"""Standard deviations beyond which the tail is taken in the limit."""


class Height(Protocol):
    """Something to climb on."""

    def at(self, x_MF: Floats) -> Floats:
        """Its height at M places."""
        ...

    def slope_at(self, x_F: Floats) -> tuple[float, Floats]:
        """Its height at one place, and the gradient there."""
        ...


@dataclass(frozen=True)
class LogImprovement:
    """How much lower than `best` the function is expected to be, as a logarithm."""

    posterior: Posterior
    best: float

    def at(self, x_MF: Floats) -> Floats:
        mean_M, deviation_M = self.posterior.predict(x_MF)
        return np.log(deviation_M) + _log_h((self.best - mean_M) / deviation_M)

    def slope_at(self, x_F: Floats) -> tuple[float, Floats]:
        mean, deviation, mean_slope_F, deviation_slope_F = self.posterior.slopes(x_F)
        z = (self.best - mean) / deviation
        log_h = float(_log_h(np.array([z]))[0])
        steep = math.exp(min(float(log_ndtr(z)) - log_h, _STEEPEST))
        slope_F = (deviation_slope_F * (1 - steep * z) - steep * mean_slope_F) / deviation
        return math.log(deviation) + log_h, slope_F


@dataclass(frozen=True)
class Depth:
    """How low the function is believed to be."""

    posterior: Posterior

    def at(self, x_MF: Floats) -> Floats:
        return -self.posterior.predict(x_MF)[0]

    def slope_at(self, x_F: Floats) -> tuple[float, Floats]:
        mean, _, mean_slope_F, _ = self.posterior.slopes(x_F)
        return -mean, -mean_slope_F


def climb(height: Height, x_F: Floats, low_F: Floats, high_F: Floats) -> Floats:
    """The top that is reached from `x_F` in a box; where `low_F == high_F`, nothing is changed."""
    free = np.flatnonzero(high_F > low_F)
    if not len(free):
        return x_F
    whole_F = x_F.copy()

    def negative(part: Floats) -> tuple[float, Floats]:
        whole_F[free] = part
        value, slope_F = height.slope_at(whole_F)
        return -value, -slope_F[free]

    bounds = list(zip(low_F[free], high_F[free], strict=True))
    found = minimize(
        negative, x_F[free], jac=True, method="L-BFGS-B", bounds=bounds, options=_CLIMB
    )
    whole_F[free] = np.clip(found.x, low_F[free], high_F[free])
    return whole_F


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
