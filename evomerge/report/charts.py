"""Charts as plain SVG, drawn for a given width so that letters keep their size on a phone."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from evomerge.report.data import Point
from evomerge.results import Results, Row

_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 14.0, 12.0, 36.0
_NAMES = 108.0
_MAX_POINTS = 3000


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


def _svg(width: float, height: float, label: str, body: Iterable[str]) -> str:
    return (
        f'<svg class="chart" role="img" aria-label="{escape(label)}" '
        f'viewBox="0 0 {width:g} {height:g}" width="{width:g}" height="{height:g}">'
        f"{''.join(body)}</svg>"
    )


def _text(x: float, y: float, text: str, classes: str = "", anchor: str = "middle") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" class="{classes}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, classes: str, title: str = "") -> str:
    tip = f"<title>{escape(title)}</title>" if title else ""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{classes}">{tip}</line>'


def history_chart(
    points: Sequence[Point], baselines: Sequence[tuple[str, float]], width: float
) -> str:
    """Search fitness of each candidate, the best so far, and the baselines as lines."""
    if not points:
        return ""
    height = 300.0 if width > 500 else 260.0
    low, high = padded([*(p.fitness for p in points), *(value for _, value in baselines)])
    end = width - (_NAMES if baselines else _RIGHT)
    last = max(points[-1].number, points[0].number + 1)
    x = Scale(points[0].number, last, _LEFT + 6, end)
    y = Scale(low, high, height - _BOTTOM, _TOP)
    label = (
        f"Search fitness of {len(points)} candidates; best {max(p.fitness for p in points):.4f}. "
        + "; ".join(f"{name} {value:.4f}" for name, value in baselines)
    )
    body = [
        *_y_axis(y, end),
        *(_text(x(t), height - 18, f"{t:g}", "tick") for t in _whole_ticks(x)),
        _text((_LEFT + end) / 2, height - 2, "candidate", "tick"),
        *_baseline_lines(baselines, y, end),
        *_dots(points, x, y),
        _best_so_far(points, x, y),
    ]
    return _svg(width, height, label, body)


def _whole_ticks(x: Scale) -> list[float]:
    return [tick for tick in ticks(x.low, x.high) if tick == int(tick)]


def _y_axis(y: Scale, end: float) -> Iterator[str]:
    for tick in ticks(y.low, y.high):
        yield _line(_LEFT, y(tick), end, y(tick), "grid")
        yield _text(_LEFT - 6, y(tick) + 4, f"{tick:g}", "tick", "end")


def _baseline_lines(baselines: Sequence[tuple[str, float]], y: Scale, end: float) -> Iterator[str]:
    """All of them as thin lines; names beside them where there is room, from the best down."""
    taken: list[float] = []
    for place, (name, value) in enumerate(baselines):
        classes = "baseline best-baseline" if place == 0 else "baseline"
        yield _line(_LEFT, y(value), end, y(value), classes, f"{name}: {value:.4f}")
        if all(abs(y(value) - other) > 12 for other in taken):
            taken.append(y(value))
            yield _text(end + 5, y(value) + 4, _short(name, 16), "tick", "start")


def _short(name: str, room: int) -> str:
    return name if len(name) <= room else name[: room - 1] + "…"


def _dots(points: Sequence[Point], x: Scale, y: Scale) -> Iterator[str]:
    step = max(1, len(points) // _MAX_POINTS)
    for point in points[::step]:
        classes = "dot" if point.feasible else "dot infeasible"
        extra = "" if point.feasible else ", misses a constraint"
        yield (
            f'<circle cx="{x(point.number):.1f}" cy="{y(point.fitness):.1f}" r="2.6" '
            f'class="{classes}"><title>{escape(point.label)}: {point.fitness:.4f}{extra}</title></circle>'
        )


def _best_so_far(points: Sequence[Point], x: Scale, y: Scale) -> str:
    best, path = -math.inf, ""
    for point in points:
        if point.feasible and point.fitness > best:
            path += (
                f"M{x(point.number):.1f} {y(point.fitness):.1f}"
                if not path
                else (f"H{x(point.number):.1f}V{y(point.fitness):.1f}")
            )
            best = point.fitness
    end = f"H{x(points[-1].number):.1f}" if path else ""
    return f'<path d="{path}{end}" class="best-line"/>' if path else ""


def lead_chart(results: Results, width: float) -> str:
    """The winner's lead over each baseline with its interval: right of zero means better."""
    rows = [row for row in results.baselines if row.lead is not None]
    if not rows:
        return ""
    rows.sort(key=lambda row: row.lead.value if row.lead else 0.0)
    names = 150.0 if width > 500 else 112.0
    ends = [end for row in rows for end in _ends(row)]
    low, high = padded([0.0, *ends])
    x = Scale(low, high, names + 8, width - _RIGHT)
    height = 26.0 * len(rows) + 34
    body = [
        *(
            part
            for tick in ticks(low, high, 4)
            for part in (
                _line(x(tick), 4, x(tick), height - 24, "zero" if tick == 0 else "grid"),
                _text(x(tick), height - 8, f"{tick:+g}" if tick else "0", "tick"),
            )
        ),
        *(part for place, row in enumerate(rows) for part in _lead(row, place, x, names)),
    ]
    label = "Lead of the winner: " + "; ".join(f"{r.label} {lead_text(r)}" for r in rows)
    return _svg(width, height, label, body)


def _ends(row: Row) -> tuple[float, ...]:
    if row.lead is None:
        return ()
    known = (row.lead.low, row.lead.value, row.lead.high)
    return tuple(value for value in known if value is not None)


def _lead(row: Row, place: int, x: Scale, names: float) -> Iterator[str]:
    lead = row.lead
    assert lead is not None
    y = 18 + 26.0 * place
    yield _text(names, y + 4, _short(row.label, int(names / 6.6)), "name", "end")
    sure = lead.low is not None and lead.low > 0
    classes = "lead sure" if sure else "lead"
    if lead.low is not None and lead.high is not None:
        yield _line(x(lead.low), y, x(lead.high), y, classes)
    tip = f"<title>{escape(row.label)}: {lead_text(row)}</title>"
    yield f'<circle cx="{x(lead.value):.1f}" cy="{y:.1f}" r="5" class="{classes}">{tip}</circle>'


def lead_text(row: Row) -> str:
    """`+0.031 (+0.010 to +0.052)`."""
    if row.lead is None:
        return ""
    if row.lead.low is None or row.lead.high is None:
        return f"{row.lead.value:+.4f}"
    return f"{row.lead.value:+.4f} ({row.lead.low:+.4f} to {row.lead.high:+.4f})"


def cost_bar(costs: Mapping[str, float], width: float) -> str:
    """One bar of all worker seconds, cut by what they were spent on."""
    total = sum(costs.values())
    if total <= 0:
        return ""
    body, x = [], 0.0
    for name, seconds in costs.items():
        part = width * seconds / total
        tip = f"{name}: {seconds:.1f} s, {100 * seconds / total:.1f} %"
        body.append(
            f'<rect x="{x:.1f}" y="0" width="{part:.1f}" height="22" class="cost-{escape(name)}">'
            f"<title>{escape(tip)}</title></rect>"
        )
        x += part
    label = ", ".join(f"{n} {s:.1f} seconds" for n, s in costs.items())
    return _svg(width, 22, f"Worker time: {label}", body)
