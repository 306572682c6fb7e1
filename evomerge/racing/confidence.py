"""Confidence bounds that hold at all times, by betting on documents drawn without replacement.

A gambler bets, round after round, that an unknown number is smaller than a hypothetical one. If the
hypothesis holds, no strategy of betting makes wealth grow on average, so that wealth reaches 1 / error
with probability at most `error`, no matter how often one looks (Ville 1939). The hypotheses that have
not made the gambler rich are a confidence bound: Waudby-Smith & Ramdas, "Confidence sequences for
sampling without replacement" (2020) and "Estimating means of bounded random variables by betting"
(2024). What is bet on here are not documents but rounds: each gives an estimate of the number that is
unbiased given all that came before (`draws`), which is all that the argument needs, so that tasks of
different sizes and weights enter one bet.

How much is bet matters for power and not for validity, as long as it is settled before the round. An
average of a few gamblers bets, each with the stake that is best if the question can be settled after
a certain part of the rounds. Shapes: R rounds, G gamblers.
"""

import math
from dataclasses import dataclass

import numpy as np

from evomerge.fitness import Floats

HORIZONS_G = np.array([1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1 / 64])
"""The part of all rounds after which each gambler hopes to be rich."""
_MOST = 0.95
"""No gambler risks more than this part of its wealth."""
_STEPS = 40
_ROUNDING = 1e-12
"""Sums of so many weighted answers are not more exact than this: equal is not less."""


@dataclass(frozen=True)
class Draws:
    """What rounds say of one unknown number.

    estimates_R: unbiased for the number, each given the rounds before it. floors_R, ceilings_R:
    between what each could have come out. variances_R: how far it was expected to spread, and
    unit_variances_R: how far it would have if the whole population had still been there; guesses that
    validity does not rest on. low, high: between what the number lies for certain by now. rounds: how
    many there will be in the end.
    """

    estimates_R: Floats
    floors_R: Floats
    ceilings_R: Floats
    variances_R: Floats
    unit_variances_R: Floats
    low: float
    high: float
    rounds: int

    def negated(self) -> "Draws":
        """The same of the number with its sign changed."""
        return Draws(
            -self.estimates_R,
            -self.ceilings_R,
            -self.floors_R,
            self.variances_R,
            self.unit_variances_R,
            -self.high,
            -self.low,
            self.rounds,
        )


def log_wealth(draws: Draws, null: float, error: float) -> float:
    """The most that the gamblers had, on average, after any round; log, from 0 before the first.

    They bet that the number is below `null`. If it is not, this exceeds log(1 / error) with
    probability at most `error`. Infinite where the number is below `null` for certain.
    """
    if draws.high < null - _ROUNDING:
        return math.inf
    return float(log_wealths(draws, null, error).max(initial=0.0))


def log_wealths(draws: Draws, null: float, error: float) -> Floats:
    """What the gamblers have on average after each round, as logs, (R,).

    Unless the number is below `null`, no round is expected to raise it: a supermartingale.
    """
    logs_GR = np.cumsum(np.log1p(_stakes(draws, null, error) * (null - draws.estimates_R)), axis=1)
    top_R = logs_GR.max(axis=0)
    wealth_R: Floats = top_R + np.log(np.exp(logs_GR - top_R).mean(axis=0))
    return wealth_R


def upper_bound(draws: Draws, error: float) -> float:
    """The number is above this with probability at most `error`, at whatever round one looks."""
    rich = math.log(1 / error)
    low, high = draws.low, draws.high
    if log_wealth(draws, high, error) < rich:
        return high
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if log_wealth(draws, middle, error) >= rich else (middle, high)
    return high


def lower_bound(draws: Draws, error: float) -> float:
    """The number is below this with probability at most `error`, at whatever round one looks."""
    return -upper_bound(draws.negated(), error)


def _stakes(draws: Draws, null: float, error: float) -> Floats:
    """What each gambler stakes on each unit below `null`: Kelly's bet on the gap it hopes for.

    A gap d settles the question after n rounds of variance v where n d² / 2v = log(1 / error); the
    bet that makes wealth grow fastest at gap d and variance v is d / (v + d²). It is cut where a round
    could cost everything. As `null` enters in that limit alone, wealth rises with it.
    """
    hoped_G1 = np.maximum(2.0, draws.rounds * HORIZONS_G)[:, None]
    gaps_GR = np.sqrt(2 * math.log(1 / error) * draws.unit_variances_R / hoped_G1)
    kelly_GR = gaps_GR / (draws.variances_R + gaps_GR**2)
    room_R = np.maximum(draws.ceilings_R - null, 1e-12)
    stakes_GR: Floats = np.minimum(kelly_GR, _MOST / room_R)
    return stakes_GR
