"""What a Gaussian process makes of everything that was told, renewed as results come in."""

import numpy as np
from numpy.typing import NDArray

from evomerge.space import Genome
from evomerge.strategy.base import to_losses
from evomerge.strategy.gp.features import Features
from evomerge.strategy.gp.losses import standardise
from evomerge.strategy.gp.process import Hyperparameters, Posterior, fit
from evomerge.strategy.told import Told

_LIMIT = 400
"""Observations beyond which only the best and the newest count: the cost of an ask stays bounded."""
_FIT_LIMIT = 200
_REFIT = 1.1
"""Hyperparameters are renewed when there are so many times more observations than at the last time."""


class Model:
    """The posterior given all observations, and given that pending genomes turn out as expected."""

    def __init__(self, features: Features) -> None:
        self._features = features
        self._parameters: Hyperparameters | None = None
        self._fitted = 0
        self._seen = -1

    def update(self, told: Told) -> None:
        """Learn what was told since the last time."""
        if len(told) == self._seen:
            return
        self._seen = len(told)
        kept = _newest_and_best(told, _LIMIT)
        self._genomes_ND = np.array([told.genomes[i] for i in kept])
        self._x_NF = self._features.of(self._genomes_ND)
        self._y_N, self._extra_N = standardise([told.observations[i] for i in kept])
        if self._parameters is None or len(told) >= self._fitted * _REFIT:
            self._fit(told)
        self.posterior = Posterior(self.parameters, self._x_NF, self._y_N, self._extra_N)
        means_N, _ = self.posterior.predict(self._x_NF)
        self.best = float(means_N.min())
        self.centre_D: Genome = self._genomes_ND[int(np.argmin(means_N))]

    @property
    def parameters(self) -> Hyperparameters:
        assert self._parameters is not None
        return self._parameters

    def given(self, pending: list[Genome]) -> tuple[Posterior, float]:
        """The posterior, and its lowest mean, if `pending` turn out as expected (Ginsbourger et al.
        2010, Kriging Is Well-Suited to Parallelize Optimization: the kriging believer)."""
        if not pending:
            return self.posterior, self.best
        x_PF = self._features.of(np.array(pending[-_LIMIT:]))
        expected_P, _ = self.posterior.predict(x_PF)
        posterior = Posterior(
            self.parameters,
            np.vstack([self._x_NF, x_PF]),
            np.concatenate([self._y_N, expected_P]),
            np.concatenate([self._extra_N, np.zeros(len(x_PF))]),
        )
        return posterior, min(self.best, float(expected_P.min()))

    def _fit(self, told: Told) -> None:
        """Of many observations, the best tell most about the place that matters."""
        best = np.sort(np.argsort(self._y_N, kind="stable")[:_FIT_LIMIT])
        x_NF, y_N, extra_N = self._x_NF[best], self._y_N[best], self._extra_N[best]
        self._parameters = fit(x_NF, y_N, extra_N, self._parameters)
        self._fitted = len(told)


def _newest_and_best(told: Told, limit: int) -> NDArray[np.intp]:
    """At most `limit` places in `told`, half of them the newest, the others the best; rising."""
    if len(told) <= limit:
        return np.arange(len(told))
    newest = np.arange(len(told) - limit // 2, len(told))
    losses = np.array(to_losses(told.observations[: newest[0]]))
    return np.concatenate([np.sort(np.argsort(losses, kind="stable")[: limit // 2]), newest])
