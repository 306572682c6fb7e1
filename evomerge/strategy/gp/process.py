"""Gaussian-process regression with a length scale for each gene.

Rasmussen & Williams 2006, chapters 2, 4 and 5. The kernel is a Matern 5/2: smoother ones need fewer
observations of a quadratic, but found worse merges of real models. Hyperparameters are the most probable
ones under priors that expect slopes to be gentler in more dimensions (Hvarfner, Hellsten & Nardi 2024,
Vanilla Bayesian Optimization Performs Great in High Dimensions), all lengths near one shared length: with
fewer losses than genes, the shared part is all that the data can tell.

Shapes: N observations, M queries, D coordinates.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.optimize import minimize

Floats = NDArray[np.float64]

_ROOT5 = math.sqrt(5.0)
_JITTER = 1e-8
# Priors on logarithms: (mean, standard deviation).
_SIGNAL = (1.0, 1.5)
_NOISE = (-4.5, 1.5)
_SHARED_LENGTH_SD = 1.0
_OWN_LENGTH_SD = 0.5
_STEPS = 60


@dataclass(frozen=True)
class Hyperparameters:
    """signal, noise: variances. shared_length: in units of the box. own_D: factors on it."""

    signal: float
    noise: float
    shared_length: float
    own_D: Floats

    @property
    def lengths_D(self) -> Floats:
        return self.shared_length * self.own_D

    def to_logs(self) -> Floats:
        logs = np.log([self.signal, self.noise, self.shared_length])
        return np.concatenate([logs, np.log(self.own_D)])

    @staticmethod
    def from_logs(logs: Floats) -> "Hyperparameters":
        values = np.exp(logs)
        return Hyperparameters(float(values[0]), float(values[1]), float(values[2]), values[3:])

    @staticmethod
    def expected(dimension: int) -> "Hyperparameters":
        """What the priors expect most."""
        return Hyperparameters.from_logs(_prior_means(dimension))


class Posterior:
    """What is believed of a function after N noisy looks at it.

    Args:
        x_ND, y_N: where it was seen, and what was seen.
        extra_N: variance of each observation beyond the noise that all share.
    """

    def __init__(
        self, parameters: Hyperparameters, x_ND: Floats, y_N: Floats, extra_N: Floats
    ) -> None:
        self.parameters = parameters
        self._x_ND = x_ND / parameters.lengths_D
        k_NN = _kernel(_distances(self._x_ND, self._x_ND), parameters.signal)
        k_NN[np.diag_indices_from(k_NN)] += parameters.noise + extra_N + _JITTER * parameters.signal
        self._root_NN = cholesky(k_NN, lower=True, check_finite=False)
        self.offset = _offset(self._root_NN, y_N)
        self._alpha_N = cho_solve((self._root_NN, True), y_N - self.offset, check_finite=False)

    def predict(self, x_MD: Floats) -> tuple[Floats, Floats]:
        """Mean and standard deviation of the function (without noise) at M places."""
        k_NM = self._cross(x_MD)
        mean_M = self.offset + k_NM.T @ self._alpha_N
        v_NM = solve_triangular(self._root_NN, k_NM, lower=True, check_finite=False)
        variance_M = self.parameters.signal - np.einsum("nm,nm->m", v_NM, v_NM)
        return mean_M, np.sqrt(np.maximum(variance_M, 1e-12 * self.parameters.signal))

    def slopes(self, x_D: Floats) -> tuple[float, float, Floats, Floats]:
        """Mean, standard deviation and their gradients at one place."""
        lengths_D = self.parameters.lengths_D
        away_ND = x_D / lengths_D - self._x_ND
        r_N = np.sqrt(np.einsum("nd,nd->n", away_ND, away_ND))
        k_N = _kernel(r_N, self.parameters.signal)
        dk_ND = -_steepness(r_N, self.parameters.signal)[:, None] * away_ND / lengths_D
        solved_N = cho_solve((self._root_NN, True), k_N, check_finite=False)
        variance = max(self.parameters.signal - k_N @ solved_N, 1e-12 * self.parameters.signal)
        deviation = math.sqrt(variance)
        mean = self.offset + k_N @ self._alpha_N
        return mean, deviation, dk_ND.T @ self._alpha_N, -(dk_ND.T @ solved_N) / deviation

    def _cross(self, x_MD: Floats) -> Floats:
        distances_NM = _distances(self._x_ND, x_MD / self.parameters.lengths_D)
        return _kernel(distances_NM, self.parameters.signal)


def fit(
    x_ND: Floats, y_N: Floats, extra_N: Floats, start: Hyperparameters | None = None
) -> Hyperparameters:
    """The most probable hyperparameters, looked for from `start` and from what the priors expect."""
    expected = Hyperparameters.expected(x_ND.shape[1])
    starts = [expected] if start is None else [start, expected]
    prior = _prior_means(x_ND.shape[1])
    bounds = [(mean - 6, mean + 6) for mean in prior[:3]]
    bounds += [(-2.0, 2.0)] * x_ND.shape[1]
    best: tuple[float, Floats] | None = None
    for one in starts:
        # The gradient is exact, so a fixed number of steps is enough to be near: few at a warm start.
        found = minimize(
            _badness,
            np.clip(one.to_logs(), *np.transpose(bounds)),
            args=(x_ND, y_N, extra_N, prior),
            jac=True,
            method="L-BFGS-B",
            bounds=bounds,
            options={"maxiter": _STEPS},
        )
        if best is None or found.fun < best[0]:
            best = float(found.fun), found.x
    assert best is not None
    return Hyperparameters.from_logs(best[1])


def _badness(
    logs: Floats, x_ND: Floats, y_N: Floats, extra_N: Floats, prior: Floats
) -> tuple[float, Floats]:
    """Negative log posterior of the logs of hyperparameters, and its gradient."""
    parameters = Hyperparameters.from_logs(logs)
    scaled_ND = x_ND / parameters.lengths_D
    r_NN = _distances(scaled_ND, scaled_ND)
    k_NN = _kernel(r_NN, parameters.signal)
    noisy_NN = k_NN.copy()
    noisy_NN[np.diag_indices_from(k_NN)] += parameters.noise + extra_N + _JITTER * parameters.signal
    root_NN = cholesky(noisy_NN, lower=True, check_finite=False)
    centred_N = y_N - _offset(root_NN, y_N)
    inverse_NN = cho_solve((root_NN, True), np.eye(len(y_N)), check_finite=False)
    alpha_N = inverse_NN @ centred_N
    evidence = 0.5 * centred_N @ alpha_N + np.log(np.diag(root_NN)).sum()
    pull_NN = inverse_NN - np.outer(alpha_N, alpha_N)
    slope_NN = pull_NN * _steepness(r_NN, parameters.signal)
    lengths_D = slope_NN.sum(1) @ scaled_ND**2 - np.einsum(
        "nd,nd->d", scaled_ND, slope_NN @ scaled_ND
    )
    gradient = np.concatenate(
        [
            [
                0.5 * np.sum(pull_NN * k_NN),
                0.5 * parameters.noise * np.trace(pull_NN),
                lengths_D.sum(),
            ],
            lengths_D,
        ]
    )
    away = (logs - prior) / _prior_deviations(x_ND.shape[1])
    return (
        float(evidence + 0.5 * away @ away),
        gradient + away / _prior_deviations(x_ND.shape[1]),
    )


def _offset(root_NN: Floats, y_N: Floats) -> float:
    """The constant mean that fits best (generalised least squares)."""
    ones_N = cho_solve((root_NN, True), np.ones(len(y_N)), check_finite=False)
    return float(ones_N @ y_N / ones_N.sum())


def _kernel(r: Floats, signal: float) -> Floats:
    """Covariance at a distance r in units of the length scale."""
    k: Floats = signal * (1 + _ROOT5 * r + 5 / 3 * r**2) * np.exp(-_ROOT5 * r)
    return k


def _steepness(r: Floats, signal: float) -> Floats:
    """-(dk/dr) / r: how fast the covariance falls; finite at 0."""
    fall: Floats = signal * 5 / 3 * (1 + _ROOT5 * r) * np.exp(-_ROOT5 * r)
    return fall


def _distances(a_ND: Floats, b_MD: Floats) -> Floats:
    squares_NM = (a_ND**2).sum(1)[:, None] + (b_MD**2).sum(1) - 2 * a_ND @ b_MD.T
    distances_NM: Floats = np.sqrt(np.maximum(squares_NM, 0.0))
    return distances_NM


def _prior_means(dimension: int) -> Floats:
    length = math.log(dimension) / 2 + 0.5
    return np.array([_SIGNAL[0], _NOISE[0], length] + [0.0] * dimension)


def _prior_deviations(dimension: int) -> Floats:
    own = [_OWN_LENGTH_SD] * dimension
    return np.array([_SIGNAL[1], _NOISE[1], _SHARED_LENGTH_SD, *own])
