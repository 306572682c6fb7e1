"""DELLA's chances must be chances: density ± epsilon lies strictly between 0 and 1.

A range that can break this would give candidates that are no recipes, so it is refused when the file
is read, with the numbers that work.
"""

from collections.abc import Mapping
from fractions import Fraction

from evomerge.methods import Method, Trim
from evomerge.methods.amounts import decimal
from evomerge.space.searched import Choice, Fixed, Range, Searched

MARGIN = Fraction(1, 100)
"""How far from 0 and 1 the proposed range stays."""
Interval = tuple[Fraction, Fraction]


def ranked_problem(
    method: Method, parameters: Mapping[str, Searched | Fixed]
) -> tuple[str, str, str] | None:
    """(parameter, message, remedy) where some density ± epsilon leaves (0, 1)."""
    if method.trim is not Trim.RANKED:
        return None
    density = _extent(method, "density", parameters)
    epsilon = _extent(method, "epsilon", parameters)
    if density is None or epsilon is None:
        return None  # not numbers: reported by kind
    widest = epsilon[1]
    if density[0] - widest > 0 and density[1] + widest < 1:
        return None
    low, high = float(density[0] - widest), float(density[1] + widest)
    message = (
        f"density ± epsilon runs from {low:g} to {high:g} in {method.name}: "
        "these are chances, between 0 and 1"
    )
    place = "density" if "density" in parameters else "epsilon"
    return place, message, _remedy(density, widest)


def _remedy(density: Interval, widest: Fraction) -> str:
    low, high = max(density[0], widest + MARGIN), min(density[1], 1 - widest - MARGIN)
    if low < high:
        return (
            f"write `density: {{range: [{float(low):g}, {float(high):g}]}}`, or a smaller epsilon"
        )
    return "write `density: {range: [0.3, 0.7]}` and `epsilon: {range: [0.02, 0.29]}`"


def _extent(
    method: Method, name: str, parameters: Mapping[str, Searched | Fixed]
) -> Interval | None:
    """The lowest and highest value that a parameter can take, exactly as written."""
    declared = method.parameter(name)
    value = parameters.get(name, declared.default if declared else None)
    if isinstance(value, Range | Choice):
        ends = value.extent
    elif value is None or isinstance(value, str):
        return None
    else:
        ends = (float(value), float(value))
    return decimal(ends[0]), decimal(ends[1])
