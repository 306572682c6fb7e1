"""Values with their intervals, one below the other: leads over the baselines, shares of the variance."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from evomerge.bootstrap import Estimate
from evomerge.insight import Effect
from evomerge.report.charts.svg import (
    RIGHT,
    Scale,
    circle,
    line,
    padded,
    rect,
    short,
    svg,
    text,
    ticks,
)
from evomerge.results import Results, Row

_ROW = 26.0


@dataclass(frozen=True)
class _Line:
    """One row of such a chart."""

    name: str
    estimate: Estimate
    words: str
    sure: bool


def lead_chart(results: Results, width: float) -> str:
    """The winner's lead over each baseline with its interval: right of zero means better."""
    rows = [row for row in results.baselines if row.lead is not None]
    rows.sort(key=lambda row: row.lead.value if row.lead else 0.0)
    lines = [_Line(r.label, r.lead, lead_text(r), _sure(r.lead)) for r in rows if r.lead]
    return _chart("Lead of the winner", lines, width, signed=True)


def importance_chart(effects: Sequence[Effect], width: float, most: int = 15) -> str:
    """The share of the fitness's variance that is due to each parameter."""
    lines = [_Line(e.label, e.share, share_text(e.share), _sure(e.share)) for e in effects[:most]]
    return _chart("Share of the variance of fitness", lines, width, signed=False)


def difference_chart(what: str, rows: Sequence[tuple[str, Estimate]], width: float) -> str:
    """Differences with their intervals, by name: right of zero means more."""
    lines = [_Line(name, found, estimate_text(found), _apart(found)) for name, found in rows]
    return _chart(what, lines, width, signed=True)


def _apart(estimate: Estimate) -> bool:
    """Whether zero is outside of the interval."""
    return _sure(estimate) or (estimate.high is not None and estimate.high < 0)


def _sure(estimate: Estimate) -> bool:
    return estimate.low is not None and estimate.low > 0


def lead_text(row: Row) -> str:
    """`+0.031 (+0.010 to +0.052)`."""
    return "" if row.lead is None else estimate_text(row.lead)


def estimate_text(estimate: Estimate) -> str:
    """`+0.0310 (+0.0100 to +0.0520)`."""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:+.4f}"
    return f"{estimate.value:+.4f} ({estimate.low:+.4f} to {estimate.high:+.4f})"


def share_text(share: Estimate) -> str:
    """`12 % (8 to 17)`."""
    percent = [None if v is None else round(100 * v) for v in (share.value, share.low, share.high)]
    if None in percent:
        return f"{percent[0]} %"
    return f"{percent[0]} % ({percent[1]} to {percent[2]})"


def _chart(what: str, lines: Sequence[_Line], width: float, *, signed: bool) -> str:
    if not lines:
        return ""
    # Long names of parameters stand above their bars where there is no room beside them.
    above = not signed and width <= 500
    names = 0.0 if above else 112.0 if width <= 500 else 150.0 if signed else 320.0
    each = 2 * _ROW if above else _ROW
    low, high = padded([0.0, *(v for one in lines for v in _known(one.estimate))])
    x = Scale(low if signed else min(low, 0.0), high, names + 8, width - RIGHT)
    height = each * len(lines) + 34
    body = [*_x_axis(x, height, signed=signed)]
    for place, one in enumerate(lines):
        y = 18 + each * place
        room = int((width if above else names) / 6.6)
        end = (x.start, "start") if above else (names, "end")
        body.append(text(end[0], y + 4, short(one.name, room), "name", end[1]))
        body += _mark(one, y + each - _ROW, x, bar=not signed)
    label = f"{what}: " + "; ".join(f"{one.name} {one.words}" for one in lines)
    return svg(width, height, label, body)


def _x_axis(x: Scale, height: float, *, signed: bool) -> Iterator[str]:
    for tick in ticks(x.low, x.high, 4):
        figure = f"{tick:+g}" if signed and tick else f"{100 * tick:g} %"
        yield line(x(tick), 4, x(tick), height - 24, "grid" if tick else "zero")
        yield text(x(tick), height - 8, figure if tick else "0", "tick")


def _known(estimate: Estimate) -> list[float]:
    return [v for v in (estimate.low, estimate.value, estimate.high) if v is not None]


def _mark(one: _Line, y: float, x: Scale, *, bar: bool) -> Iterator[str]:
    estimate, title = one.estimate, f"{one.name}: {one.words}"
    classes = "lead sure" if one.sure else "lead"
    if bar:
        width = max(x(estimate.value) - x(0), 0)
        yield rect(x(0), y - 7, width, 14, "bar sure" if one.sure else "bar", title)
    if estimate.low is not None and estimate.high is not None:
        ends = (x(estimate.low), x(estimate.high))
        yield line(ends[0], y, ends[1], y, "whisker" if bar else classes, title)
    if not bar:
        yield circle(x(estimate.value), y, 5, classes, title)
