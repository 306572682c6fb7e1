"""A study's charts as plain SVG: measures over the number of experts, over model size, over cost.

Lines are told apart by their dashes as well as by colour. Their names stand at their ends; below the chart on
a phone, where there is no room for that, and where dots lie together.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from evomerge.bootstrap import Estimate
from evomerge.report.charts.svg import (
    BOTTOM,
    LEFT,
    RIGHT,
    TOP,
    Scale,
    circle,
    line,
    padded,
    path,
    short,
    svg,
    text,
    y_axis,
)

COLOURS = 8
"""Classes `series-0` to `series-7` of the page's style sheet; those after them are also `again`."""
_NAMES = 175.0
_APART = 13.0
_LETTER = 6.2
_SAMPLE = 16.0


@dataclass(frozen=True)
class Series:
    """One line: a name, and its points from left to right."""

    name: str
    points: Sequence[tuple[float, Estimate]]


@dataclass(frozen=True)
class Axis:
    """What the horizontal axis shows; marks are the places that are named, all round numbers if empty."""

    title: str
    marks: Mapping[float, str]
    log: bool = False

    def place(self, value: float) -> float:
        """Where a value lies before it is scaled."""
        return math.log10(value) if self.log else value


def line_chart(title: str, axis: Axis, series: Sequence[Series], width: float) -> str:
    """Lines with whiskers of their 95 % intervals; empty where there is nothing to draw."""
    drawn = [one for one in series if one.points]
    if not drawn:
        return ""
    height = 320.0
    desk = width > 500
    end = width - (_NAMES if desk else RIGHT)
    x = _across([axis.place(v) for one in drawn for v, _ in one.points], end)
    y = Scale(*padded(_heights(drawn)), height - BOTTOM, TOP + 8)
    body = [
        *y_axis(y, LEFT, end),
        *(text(x(axis.place(v)), height - 18, name, "tick") for v, name in axis.marks.items()),
        text((LEFT + end) / 2, height - 2, axis.title, "tick"),
    ]
    for number, one in enumerate(drawn):
        body += _line(one, number, axis, x, y, len(drawn))
    body += _names(drawn, y, end) if desk else _legend(drawn, height, width)
    below = 0 if desk else _below(drawn, width)
    return svg(width, height + below, _words(title, drawn), body)


def scatter_chart(title: str, across: str, points: Sequence[Series], width: float) -> str:
    """One dot a series, with its interval, over a logarithmic axis of cost."""
    drawn = [one for one in points if one.points and one.points[0][0] > 0]
    if not drawn:
        return ""
    height = 340.0
    places = [math.log10(one.points[0][0]) for one in drawn]
    x = _across(places, width - RIGHT - 12)
    y = Scale(*padded(_heights(drawn)), height - BOTTOM, TOP + 8)
    body = [
        *y_axis(y, LEFT, width - RIGHT),
        *(text(x(place), height - 18, name, "tick") for place, name in _powers(x)),
        text((LEFT + width) / 2, height - 2, across, "tick"),
    ]
    dots = [(x(place), one) for place, one in zip(places, drawn, strict=True)]
    for number, (left, one) in enumerate(dots):
        body += _whisker(one.name, left, one.points[0][1], y, _colour(number))
    if width > 500:
        body += _beside(dots, y, width)
    body += _legend(drawn, height, width)  # dots that lie together have no room for their names
    return svg(width, height + _below(drawn, width), _words(title, drawn), body)


def _powers(x: Scale) -> Iterator[tuple[float, str]]:
    """Powers of ten on a logarithmic axis, with twice and five times each where it is short."""
    firsts = (1, 2, 5) if x.high - x.low < 2 else (1,)
    for power in range(math.floor(x.low), math.ceil(x.high) + 1):
        for first in firsts:
            if x.low <= (place := power + math.log10(first)) <= x.high:
                yield place, f"{first}e{power}"


def _colour(number: int) -> str:
    again = " again" if number >= COLOURS else ""
    return f"series-{number % COLOURS}{again}"


def _across(places: Sequence[float], end: float) -> Scale:
    low, high = min(places), max(places)
    air = (high - low) * 0.05 or 0.5
    return Scale(low - air, high + air, LEFT + 4, end)


def _heights(series: Sequence[Series]) -> list[float]:
    return [
        value
        for one in series
        for _, estimate in one.points
        for value in (estimate.low, estimate.value, estimate.high)
        if value is not None and math.isfinite(value)
    ]


def _line(one: Series, number: int, axis: Axis, x: Scale, y: Scale, count: int) -> Iterator[str]:
    shift = (number - (count - 1) / 2) * 3.0  # whiskers of neighbours stand beside each other
    colour = _colour(number)
    places = [(x(axis.place(value)) + shift, estimate) for value, estimate in one.points]
    steps = "L".join(f"{left:.1f} {y(estimate.value):.1f}" for left, estimate in places)
    yield path(f"M{steps}", f"series {colour}", one.name)
    for left, estimate in places:
        yield from _whisker(one.name, left, estimate, y, colour)


def _whisker(name: str, left: float, estimate: Estimate, y: Scale, colour: str) -> Iterator[str]:
    tip = f"{name}: {_figure(estimate)}"
    if estimate.low is not None and estimate.high is not None:
        yield line(left, y(estimate.low), left, y(estimate.high), f"series {colour}", tip)
    yield circle(left, y(estimate.value), 3.4, f"mark {colour}", tip)


def _beside(dots: Sequence[tuple[float, Series]], y: Scale, width: float) -> Iterator[str]:
    """A name at each dot, to the right of it or to the left, where it lies on no other one."""
    taken: list[tuple[float, float, float]] = []
    for left, one in dots:
        name, top = short(one.name, 26), y(one.points[0][1].value)
        long = _LETTER * len(name)
        for start, anchor in ((left + 8, "start"), (left - 8 - long, "end")):
            inside = start > LEFT and start + long < width
            free = all(abs(top - b) > _APART or start > d or start + long < a for a, d, b in taken)
            if inside and free:
                taken.append((start, start + long, top))
                yield text(left + (8 if anchor == "start" else -8), top + 4, name, "tick", anchor)
                break


def _names(series: Sequence[Series], y: Scale, end: float) -> Iterator[str]:
    """At the ends of the lines, moved apart where they would overlap."""
    ends = sorted((y(one.points[-1][1].value), n) for n, one in enumerate(series))
    below = -math.inf
    for wanted, number in ends:
        below = max(wanted, below + _APART)
        yield from _named(series[number].name, number, end + 8, below, 24)


def _legend(series: Sequence[Series], height: float, width: float) -> Iterator[str]:
    """Names in columns below a chart."""
    across = _columns(width)
    column = (width - LEFT / 2) / across
    room = int((column - _SAMPLE - 8) / _LETTER)
    for number, one in enumerate(series):
        row, place = divmod(number, across)
        top = height + 12 + row * (_APART + 3)
        yield from _named(one.name, number, LEFT / 4 + place * column, top, room)


def _below(series: Sequence[Series], width: float) -> float:
    """The height of a legend."""
    return 12 + -(-len(series) // _columns(width)) * (_APART + 3)


def _columns(width: float) -> int:
    return 4 if width > 500 else 2


def _named(name: str, number: int, left: float, top: float, room: int) -> Iterator[str]:
    """A piece of the line, and its name."""
    yield path(f"M{left:.1f} {top:.1f}h{_SAMPLE:g}", f"series {_colour(number)}")
    yield circle(left + _SAMPLE / 2, top, 3, f"mark {_colour(number)}")
    yield text(left + _SAMPLE + 4, top + 4, short(name, room), "tick", "start")


def _words(title: str, series: Sequence[Series]) -> str:
    return f"{title}: " + "; ".join(
        f"{one.name} {', '.join(_figure(estimate) for _, estimate in one.points)}" for one in series
    )


def _figure(estimate: Estimate) -> str:
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:.3f}"
    return f"{estimate.value:.3f} ({estimate.low:.3f} to {estimate.high:.3f})"
