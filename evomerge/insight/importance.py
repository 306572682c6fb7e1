"""Which parameters mattered: how much of the fitness a forest can no longer say once one is shuffled.

A forest (extremely randomised trees: Geurts, Ernst & Wehenkel 2006) learns fitness from the recipes of
a part of the candidates and predicts the rest. Shuffling a column among those takes away what the column
says; half of what the squared error grows by, over the variance of the fitness, is the share of the
variance that depends on the column, alone or together with others: the total effect of Sobol, where
columns are independent (Gregorutti, Michel & Saint-Pierre 2017). Where a search moved two columns
together, they share what they say. Shuffling several columns at once gives the effect of a model, a kind
of tensor or a run of layers as a whole.

Candidates that lost a race count with their estimates, by their standard errors. Intervals come from
resampling the candidates. Shapes: N candidates, F features, E effects.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evomerge.bootstrap import Estimate, Floats, percentile_interval, resample_counts
from evomerge.errors import ResourceError
from evomerge.insight.features import FeatureTable

Places = NDArray[np.int64]
FEWEST = 30
"""Candidates below which nothing is said."""
_MOST = 1000
_FOLDS, _REPEATS, _TREES = 4, 3, 64
_FEATURES = 40
_RESAMPLES, _SEED = 1000, 20_250_104


@dataclass(frozen=True)
class Effect:
    """A feature, or a whole group of them, and the share of the fitness's variance due to it."""

    label: str
    share: Estimate


@dataclass(frozen=True)
class Importance:
    """What mattered. `explained` is the share of variance that the forest predicts on candidates it has
    not seen: shares mean nothing where it is near 0.

    features: the largest first. groups: by parameter, model, tensors and layers, where a search
    varies more than one of each. note: why there is nothing, or why to be careful.
    """

    candidates: int
    explained: Estimate | None = None
    features: tuple[Effect, ...] = ()
    groups: Mapping[str, tuple[Effect, ...]] | None = None
    note: str | None = None


def sample(count: int) -> Places:
    """Which of `count` candidates to look at: a thousand say it as well as all of a long search."""
    return np.sort(np.random.default_rng([_SEED, 0]).permutation(count)[:_MOST])


def parameter_importance(
    table: FeatureTable, fitness_N: Floats, stderr_N: Floats | None = None
) -> Importance:
    """The importance of every feature of `table` for the fitness.

    Args:
        stderr_N: standard errors of the fitness; 0 where they are not known.

    Raises ResourceError where scikit-learn is not installed.
    """
    count = len(fitness_N)
    if count < FEWEST:
        return Importance(count, note=f"{count} candidates are too few: {FEWEST} are needed")
    if not table.features or float(np.ptp(fitness_N)) == 0.0:
        return Importance(count, note="all candidates are alike")
    errors_N = np.zeros(count) if stderr_N is None else stderr_N
    return _Study(table, fitness_N, errors_N).importance()


class _Study:
    """Forests on changing parts of the candidates, and what shuffling does to their predictions."""

    def __init__(self, table: FeatureTable, fitness_N: Floats, stderr_N: Floats) -> None:
        self._features = table.features
        self._values_NF = _filled(table.values_NF)
        self._fitness_N = fitness_N
        self._weights_N = _weights(fitness_N, stderr_N)
        self._groups = dict(self._grouped())

    def importance(self) -> Importance:
        columns = self._columns()
        errors_N, rises_EN = self._measure(list(columns.values()))
        explained, *shares = self._shares(errors_N, rises_EN)
        effects = {key: Effect(key[1], s) for key, s in zip(columns, shares, strict=True)}
        return Importance(
            candidates=len(self._fitness_N),
            explained=explained,
            features=_sorted(effects, ""),
            groups={facet: _sorted(effects, facet) for facet in self._groups},
            note=_caution(explained),
        )

    def _columns(self) -> dict[tuple[str, str], list[int]]:
        """`{(facet, label): columns}` of every effect that is measured; facet "" for single features."""
        singles = {("", f.label): [n] for n, f in enumerate(self._features)}
        if len(singles) > _FEATURES:
            first = self._forest(np.arange(len(self._fitness_N)), 0).feature_importances_
            best = set(np.argsort(-first, kind="stable")[:_FEATURES].tolist())
            singles = {key: places for key, places in singles.items() if places[0] in best}
        grouped = {
            (facet, label): places
            for facet, members in self._groups.items()
            for label, places in members.items()
        }
        return singles | grouped

    def _grouped(self) -> Iterator[tuple[str, dict[str, list[int]]]]:
        """By each facet that has more than one value, the columns of each value."""
        for facet in ("parameter", "model", "tensors", "layers_label"):
            found: dict[str, list[int]] = {}
            for place, feature in enumerate(self._features):
                label = getattr(feature, facet)
                found.setdefault("all" if label is None else label, []).append(place)
            named = {label: places for label, places in found.items() if label != "all"}
            if len(named) > 1:
                yield facet.removesuffix("_label"), named

    def _measure(self, columns: Sequence[Sequence[int]]) -> tuple[Floats, Floats]:
        """Squared errors on candidates not seen, (N,), and what shuffling adds to them, (E, N)."""
        count = len(self._fitness_N)
        errors_N, rises_EN = np.zeros(count), np.zeros((len(columns), count))
        for repeat in range(_REPEATS):
            generator = np.random.default_rng([_SEED, 1, repeat])
            for fold, unseen in enumerate(np.array_split(generator.permutation(count), _FOLDS)):
                forest = self._forest(np.setdiff1d(np.arange(count), unseen), 1 + repeat, fold)
                error, worse = self._errors(forest, unseen, columns, generator)
                errors_N[unseen] += error
                rises_EN[:, unseen] += worse - error
        return errors_N / _REPEATS, rises_EN / _REPEATS

    def _errors(
        self,
        forest: Any,
        unseen: Places,
        columns: Sequence[Sequence[int]],
        generator: np.random.Generator,
    ) -> tuple[Floats, Floats]:
        """Squared errors on `unseen`, (n,), and with each effect's columns shuffled, (E, n)."""
        tables = [self._values_NF[unseen]]
        for places in columns:
            shuffled = tables[0].copy()
            shuffled[:, places] = tables[0][generator.permutation(len(unseen))][:, places]
            tables.append(shuffled)
        # All in one call: what a call costs beside its rows is most of the work.
        predicted = forest.predict(np.concatenate(tables)).reshape(len(tables), len(unseen))
        errors: Floats = (predicted - self._fitness_N[unseen]) ** 2
        return errors[0], errors[1:]

    def _forest(self, seen: Places, *seed: int) -> Any:
        try:
            from sklearn.ensemble import ExtraTreesRegressor
        except ImportError as error:
            raise ResourceError(
                "the importance of parameters needs scikit-learn, which is not installed",
                remedy="pip install 'evomerge[insight]'",
            ) from error
        state = int(np.random.default_rng([_SEED, 2, *seed]).integers(2**31))
        forest = ExtraTreesRegressor(
            n_estimators=_TREES, min_samples_leaf=2, max_features=1.0, random_state=state
        )
        weights = self._weights_N[seen]
        return forest.fit(self._values_NF[seen], self._fitness_N[seen], sample_weight=weights)

    def _shares(self, errors_N: Floats, rises_EN: Floats) -> list[Estimate]:
        """The share explained, then that of each effect, with intervals over resampled candidates."""
        count = len(self._fitness_N)
        generator = np.random.default_rng([_SEED, 3])
        drawn_BN = resample_counts(generator, _RESAMPLES, count)
        weights_BN = np.vstack([np.ones(count), drawn_BN]) * self._weights_N
        weights_BN /= weights_BN.sum(axis=1, keepdims=True)
        means_B = weights_BN @ self._fitness_N
        variances_B = np.maximum(weights_BN @ self._fitness_N**2 - means_B**2, 1e-300)
        explained_B = 1 - weights_BN @ errors_N / variances_B
        shares_EB = rises_EN @ weights_BN.T / 2 / variances_B
        return [percentile_interval(float(row[0]), row[1:]) for row in (explained_B, *shares_EB)]


def _weights(fitness_N: Floats, stderr_N: Floats) -> Floats:
    """What each fitness says: less, the larger its error is beside the spread of all."""
    spread = float(fitness_N.var()) or 1.0
    weights: Floats = spread / (spread + stderr_N**2)
    return weights


def _filled(values_NF: Floats) -> Floats:
    """What a recipe does not say gets a value of its own, below all others."""
    low_F = np.nanmin(values_NF, axis=0)
    span_F = np.nanmax(values_NF, axis=0) - low_F
    filled: Floats = np.where(np.isnan(values_NF), low_F - span_F - 1.0, values_NF)
    return filled


def _sorted(effects: Mapping[tuple[str, str], Effect], facet: str) -> tuple[Effect, ...]:
    found = [effect for (kind, _), effect in effects.items() if kind == facet]
    return tuple(sorted(found, key=lambda effect: -effect.share.value))


def _caution(explained: Estimate) -> str | None:
    if explained.low is None or math.isnan(explained.value) or explained.low <= 0:
        return (
            "fitness cannot be predicted from the parameters of these candidates: "
            "nothing can be said about what mattered"
        )
    return None
