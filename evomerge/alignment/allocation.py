"""Which groups stay apart under a budget: the quadratic programme of PLeaS (Nasery et al. 2025).

    maximise  Σ w_g r_g   subject to   Σ c_t (1 + rᵢ + rⱼ − rᵢ rⱼ) ≤ B Σ c_t,   0 ≤ r_g ≤ 1

r_g is the share of group g's units that stay apart, c_t the entries of a tensor (or of a part of it) whose
two dimensions belong to the groups i and j, B the budget. Where a tensor has units along one dimension the
product is absent; where that is so everywhere (transformers whose residual stream keeps its width) the
programme is a fractional knapsack. In general it is not convex: it is solved by branch and bound, with
McCormick's envelopes (1976) of the products in a linear programme, to a proven gap. The published code
calls Gurobi, and draws ratios at random where that is missing.
"""

import heapq
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from evomerge.alignment.groups import Axis, Group, Shapes, axes_by_tensor

Floats = NDArray[np.float64]
GAP = 1e-4
"""Relative to the best value: where the search for a better one ends."""
NODES = 4000
LEAST_WEIGHT = 1e-5
"""Of a group that nothing is gained by, as in the published code: what is left over goes there."""
_SLACK = 1e-9


class Term(NamedTuple):
    """A number of entries, and the names of the (at most two) ratios that they grow with."""

    entries: float
    names: tuple[str, ...]


@dataclass(frozen=True)
class Allocation:
    """Ratios by name; their value Σ w r, and a bound that no feasible ratios exceed."""

    ratios: Mapping[str, float]
    value: float
    bound: float


def cost_terms(
    groups: Sequence[Group], shapes: Shapes, names: Mapping[str, str]
) -> tuple[Term, ...]:
    """What tensors cost, by the ratios they grow with.

    Args:
        names: of each group that may grow, the ratio it has; groups may share one.
    """
    axes = axes_by_tensor(groups)
    found: dict[tuple[str, ...], float] = {}
    for tensor, shape in shapes.items():
        pairs = [(names[g.name], axis) for g, axis in axes.get(tensor, ()) if g.name in names]
        parts = [_parts(pairs, dim, length, groups, tensor) for dim, length in enumerate(shape)]
        for pieces in product(*parts):
            key = tuple(sorted(name for name, _ in pieces if name))
            found[key] = found.get(key, 0.0) + float(np.prod([count for _, count in pieces]))
    return tuple(Term(entries, key) for key, entries in sorted(found.items()))


def _parts(
    pairs: Sequence[tuple[str, Axis]], dim: int, length: int, groups: Sequence[Group], tensor: str
) -> list[tuple[str, float]]:
    """The entries of a dimension by the ratio they grow with; "" for those that never grow."""
    sizes = {id(axis): group.size for group in groups for axis in group.axes}
    found: dict[str, float] = {}
    for name, axis in pairs:
        if axis.dim == dim:
            found[name] = found.get(name, 0.0) + sizes[id(axis)] * axis.block
    rest = length - sum(found.values())
    if rest < 0:
        raise ValueError(f"{tensor}: groups claim more than its dimension {dim}")
    return [*found.items(), *([("", rest)] if rest else [])]


def relative_cost(terms: Sequence[Term], ratios: Mapping[str, float]) -> float:
    """Entries of the merged network over those of one, zero blocks not counted."""
    total = sum(term.entries for term in terms)
    return sum(term.entries * (2.0 - _merged(term, ratios)) for term in terms) / total


def _merged(term: Term, ratios: Mapping[str, float]) -> float:
    """The share of a term's entries that both networks have in common."""
    return float(np.prod([1.0 - ratios.get(name, 0.0) for name in term.names]))


def allocate(
    terms: Sequence[Term],
    weights: Mapping[str, float],
    budget: float,
    *,
    gap: float = GAP,
    nodes: int = NODES,
) -> Allocation:
    """The ratios of the largest Σ w r whose relative cost is at most `budget`.

    Args:
        weights: of every ratio, how much is gained by keeping its groups apart; at least LEAST_WEIGHT.
        gap: how far below the bound, relative to it, the value may stay.
        nodes: boxes looked at before the best ratios so far are taken; `bound` tells how good they are.

    Raises ValueError for a budget below 1, within which nothing fits.
    """
    if budget < 1.0:
        raise ValueError("a budget below 1 is less than one network")
    if not weights:
        return Allocation({}, 0.0, 0.0)
    return _Search(_Programme.of(terms, weights, budget)).run(gap, nodes)


def published_weights(
    score: Callable[[Mapping[str, float]], float], names: Sequence[str], budget: float
) -> dict[str, float]:
    """The weights of the published code, from 2 G + 2 networks that are merged and scored.

    (s₊ − s₀)(2 − B) + (s₁ − s₋)(B − 1): what a group gains by itself where all others are merged (s₊ over
    s₀), and what is lost by merging it alone where all others stay apart (s₋ below s₁). Near B = 1 the
    former counts, near 2 the latter.

    Args:
        score: of the network with these ratios, larger is better; on documents that nothing is reported of.
    """
    merged, apart = dict.fromkeys(names, 0.0), dict.fromkeys(names, 1.0)
    none, both = score(merged), score(apart)
    return {
        name: max(
            (score({**merged, name: 1.0}) - none) * (2.0 - budget)
            + (both - score({**apart, name: 0.0})) * (budget - 1.0),
            LEAST_WEIGHT,
        )
        for name in names
    }


def whole_widths(
    ratios: Mapping[str, float],
    levels: Mapping[str, Sequence[float]],
    terms: Sequence[Term],
    weights: Mapping[str, float],
    budget: float,
) -> dict[str, float]:
    """Ratios that networks can have: each rounded down to one of its levels, then raised while that fits.

    Of the next steps that the budget has room for, the one of the most weight for its cost is taken.

    Args:
        levels: of each ratio the values it may have, ascending from 0.
    """
    places = {
        name: int(np.searchsorted(levels[name], ratio + _SLACK, "right")) - 1
        for name, ratio in ratios.items()
    }

    def at(chosen: Mapping[str, int]) -> dict[str, float]:
        return {name: float(levels[name][place]) for name, place in chosen.items()}

    while True:
        now, steps = at(places), []
        for name, place in places.items():
            if place + 1 < len(levels[name]):
                then = at({**places, name: place + 1})
                spent = relative_cost(terms, then) - relative_cost(terms, now)
                if relative_cost(terms, then) <= budget + _SLACK:
                    gained = max(weights[name], LEAST_WEIGHT) * (then[name] - now[name])
                    steps.append((gained / max(spent, _SLACK), name))
        if not steps:
            return now
        places[max(steps)[1]] += 1


@dataclass(frozen=True)
class _Programme:
    """Maximise w·x within linear·x − Σ b xᵢ xⱼ ≤ room, 0 ≤ x ≤ 1.

    linear, weights: [G]. pairs: places i ≤ j, with b in `products` [P].
    """

    names: tuple[str, ...]
    weights: Floats
    linear: Floats
    pairs: tuple[tuple[int, int], ...]
    products: Floats
    room: float

    @classmethod
    def of(cls, terms: Sequence[Term], weights: Mapping[str, float], budget: float) -> "_Programme":
        names = tuple(sorted(weights))
        place: Mapping[Hashable, int] = {name: n for n, name in enumerate(names)}
        total = sum(sorted(term.entries for term in terms))
        linear, products = np.zeros(len(names)), dict[tuple[int, int], float]()
        for entries, own in sorted(terms, key=lambda term: (term.names, term.entries)):
            for name in own:
                linear[place[name]] += entries / total
            if len(own) == 2:
                pair = place[own[0]], place[own[1]]
                key = min(pair), max(pair)
                products[key] = products.get(key, 0.0) + entries / total
        worth = np.array([max(weights[name], LEAST_WEIGHT) for name in names])
        values = np.array(list(products.values()))
        return cls(names, worth, linear, tuple(products), values, budget - 1.0)

    @cached_property
    def sides(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The places i and j of every pair."""
        found = np.array(self.pairs, dtype=np.int64).reshape(-1, 2)
        return found[:, 0], found[:, 1]

    def cost(self, x_G: Floats) -> float:
        i, j = self.sides
        return float(self.linear @ x_G - self.products @ (x_G[i] * x_G[j]))

    def fits(self, x_G: Floats) -> bool:
        return self.cost(x_G) <= self.room + _SLACK

    def slope(self, x_G: Floats) -> Floats:
        """What a ratio more costs, [G]: never negative, as both networks' entries are all there are."""
        i, j = self.sides
        found = self.linear.copy()
        np.subtract.at(found, i, self.products * x_G[j])
        np.subtract.at(found, j, self.products * x_G[i])
        return np.maximum(found, 0.0)


class _Search:
    """Branch and bound: boxes of ratios, the one of the highest bound first."""

    def __init__(self, programme: _Programme) -> None:
        self.programme = programme
        self.best, self.value = np.zeros(len(programme.names)), 0.0

    def run(self, gap: float, nodes: int) -> Allocation:
        size, count = len(self.programme.names), 0
        queue: list[tuple[float, int, Floats, Floats]] = []
        self._visit(queue, np.zeros(size), np.ones(size), count)
        while queue and -queue[0][0] > self.value * (1.0 + gap) + 1e-12 and count < nodes:
            _, _, low, high = heapq.heappop(queue)
            for box in self._halves(low, high):
                count += 1
                self._visit(queue, *box, count)
        bound = max(self.value, -queue[0][0] if queue else 0.0)
        ratios = {n: float(x) for n, x in zip(self.programme.names, self.best, strict=True)}
        return Allocation(ratios, self.value, bound)

    def _visit(
        self, queue: list[tuple[float, int, Floats, Floats]], low: Floats, high: Floats, number: int
    ) -> None:
        """Bound a box, and look for good ratios in it."""
        if not self.programme.fits(low):
            return
        found = self._relaxed(low, high)
        if found is None:
            return
        bound, x_G = found
        self._offer(self._feasible(low, x_G))
        if bound > self.value:
            heapq.heappush(queue, (-bound, number, low, high))

    def _offer(self, x_G: Floats) -> None:
        value = float(self.programme.weights @ x_G)
        if value > self.value:
            self.best, self.value = x_G, value

    def _relaxed(self, low: Floats, high: Floats) -> tuple[float, Floats] | None:
        """The best value in a box with products between McCormick's envelopes, and where it is."""
        from scipy.optimize import linprog

        one, size, count = self.programme, len(self.programme.names), len(self.programme.pairs)
        rows = np.zeros((1 + 2 * count, size + count))
        limits = np.zeros(1 + 2 * count)
        rows[0, :size], rows[0, size:], limits[0] = one.linear, -one.products, one.room
        for n, (i, j) in enumerate(one.pairs):
            for row, (a, b) in ((1 + 2 * n, (i, j)), (2 + 2 * n, (j, i))):
                rows[row, size + n] = 1.0  # p ≤ u_a x_b + l_b x_a − u_a l_b
                rows[row, b] -= high[a]
                rows[row, a] -= low[b]
                limits[row] = -high[a] * low[b]
        bounds = [*zip(low, high, strict=True), *[(0.0, 1.0)] * count]
        aim = -np.concatenate([one.weights, np.zeros(count)])
        found = linprog(aim, A_ub=rows, b_ub=limits, bounds=bounds, method="highs")
        return None if found.x is None else (-float(found.fun), found.x[:size])

    def _feasible(self, low: Floats, x_G: Floats) -> Floats:
        """Ratios of a box that fit: drawn back towards its corner, then raised one by one."""
        near, far = 0.0, 1.0
        if not self.programme.fits(x_G):
            for _ in range(40):
                middle = (near + far) / 2
                inside = self.programme.fits(low + middle * (x_G - low))
                near, far = (middle, far) if inside else (near, middle)
            x_G = low + near * (x_G - low)
        return self._raised(x_G.copy())

    def _raised(self, x_G: Floats) -> Floats:
        """Each ratio as high as the others leave room for, the cheapest for its weight first."""
        one = self.programme
        for g in np.argsort(-one.weights / np.maximum(one.slope(x_G), 1e-300), kind="stable"):
            full = x_G.copy()
            full[g] = 1.0
            if not one.fits(full):
                full[g] = self._highest(x_G, int(g))
            x_G = full
        return x_G

    def _highest(self, x_G: Floats, g: int) -> float:
        """How far one ratio can rise: its cost is a line, but for a product with itself."""
        near, far = float(x_G[g]), 1.0
        for _ in range(50):
            trial = x_G.copy()
            trial[g] = (near + far) / 2
            near, far = (trial[g], far) if self.programme.fits(trial) else (near, trial[g])
        return near

    def _halves(self, low: Floats, high: Floats) -> tuple[tuple[Floats, Floats], ...]:
        """A box cut across its most coupled, widest side."""
        i, j = self.programme.sides
        coupled = np.full(len(low), 1e-12)
        for side in (i, j):
            np.add.at(
                coupled, side, self.programme.products * (high[i] - low[i]) * (high[j] - low[j])
            )
        g = int(np.argmax(coupled * (high - low)))
        upper, lower = high.copy(), low.copy()
        upper[g] = lower[g] = (low[g] + high[g]) / 2
        return (low, upper), (lower, high)


__all__ = [
    "Allocation",
    "Term",
    "allocate",
    "cost_terms",
    "published_weights",
    "relative_cost",
    "whole_widths",
]
