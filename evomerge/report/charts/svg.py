"""The few pieces that charts are made of: scales, round numbers, SVG elements.

Everything is drawn for a given width, so that letters keep their size on a phone.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape

LEFT, RIGHT, TOP, BOTTOM = 52.0, 14.0, 12.0, 36.0
"""Room around a plot for its axes."""
MAX_POINTS = 1500
"""Dots that are drawn at most: more of them only make the file large."""


@dataclass(frozen=True)
class Scale:
    """Linear from [low, high] to [start, end]."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        span = self.high - self.low or 1.0
        return self.start + (value - self.low) / span * (self.end - self.start)


def ticks(low: float, high: float, count: int = 5) -> list[float]:
    """Round numbers that span [low, high], about `count` of them."""
    span = high - low
    if span <= 0:
        return [low]
    raw = span / count
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw * 0.999)
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def padded(values: Iterable[float], share: float = 0.06) -> tuple[float, float]:
    """A range with some air around the values."""
    found = list(values)
    low, high = min(found), max(found)
    air = (high - low) * share or abs(high) * share or 1.0
    return low - air, high + air


def svg(width: float, height: float, label: str, body: Iterable[str]) -> str:
    """A drawing with a text for those who cannot see it."""
    return (
        f'<svg class="chart" role="img" aria-label="{escape(label)}" '
        f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}">'
        f"{''.join(body)}</svg>"
    )


def text(x: float, y: float, content: str, classes: str = "", anchor: str = "middle") -> str:
    """Letters at a place."""
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{classes}">'
        f"{escape(content)}</text>"
    )


def line(x1: float, y1: float, x2: float, y2: float, classes: str, title: str = "") -> str:
    """A line, perhaps with a tip for the mouse."""
    ends = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {ends} class="{classes}">{tip(title)}</line>'


def circle(x: float, y: float, radius: float, classes: str, title: str = "") -> str:
    """A dot."""
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:g}" class="{classes}">{tip(title)}</circle>'
    )


def rect(x: float, y: float, width: float, height: float, classes: str, title: str = "") -> str:
    """A box."""
    place = f'x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:g}"'
    return f'<rect {place} class="{classes}">{tip(title)}</rect>'


def path(data: str, classes: str, title: str = "") -> str:
    """Anything else."""
    return f'<path d="{data}" class="{classes}">{tip(title)}</path>'


def tip(title: str) -> str:
    """What the mouse shows."""
    return f"<title>{escape(title)}</title>" if title else ""


def short(name: str, room: int) -> str:
    """A name that fits."""
    return name if len(name) <= room else name[: max(room - 1, 1)] + "…"


def x_axis(x: Scale, marks: Iterable[float], height: float, name: str) -> Iterable[str]:
    """Figures below the plot, and what they count below them."""
    for mark in marks:
        yield text(x(mark), height - 18, f"{mark:g}", "tick")
    yield text((LEFT + x.end) / 2, height - 2, name, "tick")


def y_axis(y: Scale, start: float, end: float) -> Iterable[str]:
    """Lines and figures across the plot."""
    for tick in ticks(y.low, y.high):
        yield line(start, y(tick), end, y(tick), "grid")
        yield text(start - 6, y(tick) + 4, f"{tick:g}", "tick", "end")
