"""From one value a layer group to the layers: steps, straight lines, or a spline.

Plain Python throughout: a resumed search must decode a stored genome to the same digits on whatever
machine, and a linear-algebra library promises that for no two of its versions.
"""

from collections.abc import Sequence
from typing import Literal

from evomerge.recipe import Value, interpolate, position_in_slice
from evomerge.space.searched import Range

Across = Literal["step", "linear", "spline"]


def spread(values: tuple[float, ...], across: Across, layers: int, searched: Range) -> Value:
    """The values of the groups as a recipe has them: one number, or a list over the layers.

    `linear` stays a short list, whose straight lines are mergekit's own grammar, unless whole numbers
    are asked for; the others name every layer.
    """
    if len(values) == 1:
        return values[0]
    if across == "step":
        return tuple(values[layer * len(values) // layers] for layer in range(layers))
    if across == "linear" and not searched.integer:
        return values
    positions = [position_in_slice(layer, layers) for layer in range(layers)]
    if across == "linear":
        found = [float(interpolate(values, position)) for position in positions]
    else:
        found = natural_spline(values, positions)
    return tuple(searched.rounded(value) for value in found)


def natural_spline(values: Sequence[float], positions: Sequence[float]) -> list[float]:
    """The natural cubic spline through `values`, spread evenly over [0, 1], at `positions`."""
    bends = _bends(values)
    found = []
    for position in positions:
        place = position * (len(values) - 1)
        left = min(int(place), len(values) - 2)
        b = place - left
        a = 1.0 - b
        line = a * values[left] + b * values[left + 1]
        found.append(line + ((a**3 - a) * bends[left] + (b**3 - b) * bends[left + 1]) / 6)
    return found


def _bends(values: Sequence[float]) -> list[float]:
    """Second derivatives at the knots, 0 at both ends: the 1-4-1 system by elimination."""
    count = len(values)
    factors, right = [0.0] * count, [0.0] * count
    for knot in range(1, count - 1):
        pivot = 4.0 - factors[knot - 1]
        factors[knot] = 1.0 / pivot
        jump = 6.0 * (values[knot - 1] - 2.0 * values[knot] + values[knot + 1])
        right[knot] = (jump - right[knot - 1]) / pivot
    bends = [0.0] * count
    for knot in range(count - 2, 0, -1):
        bends[knot] = right[knot] - factors[knot] * bends[knot + 1]
    return bends
