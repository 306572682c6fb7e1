"""The course of a search: fitness by candidates, or by the documents that they answered."""

from collections.abc import Callable, Iterator, Sequence

from evomerge.insight import Point
from evomerge.report.charts.svg import (
    BOTTOM,
    LEFT,
    MAX_POINTS,
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
    ticks,
    x_axis,
    y_axis,
)

Baselines = Sequence[tuple[str, float]]
_NAMES = 108.0
_DESK = 500.0
"""From this width on there is room for names beside the plot, and for many dots in it."""
_FEW_POINTS = 260


def history_chart(
    points: Sequence[Point],
    baselines: Baselines,
    width: float,
    *,
    by_documents: bool = False,
    sampled_from: int | None = None,
) -> str:
    """Search fitness of each candidate, the best so far, and the baselines as lines.

    sampled_from: how many candidates there are where the points are only some of them.
    """
    if not points:
        return ""
    desk = width > _DESK
    height = 300.0 if desk else 260.0
    end = width - (_NAMES if baselines and desk else RIGHT)

    def place(point: Point) -> int:
        return point.documents if by_documents else point.number

    x = Scale(place(points[0]), max(place(points[-1]), place(points[0]) + 1), LEFT + 6, end)
    low, high = padded([*(p.fitness for p in points), *(value for _, value in baselines)])
    y = Scale(low, high, height - BOTTOM, TOP)
    body = [
        *y_axis(y, LEFT, end),
        *x_axis(x, _whole_ticks(x), height, "documents" if by_documents else "candidate"),
        *_baseline_lines(baselines, y, end, beside=desk),
        *_marks(points, place, x, y, MAX_POINTS if desk else _FEW_POINTS),
        _best_so_far(points, place, x, y),
    ]
    return svg(width, height, _words(points, baselines, sampled_from), body)


def _words(points: Sequence[Point], baselines: Baselines, sampled_from: int | None) -> str:
    dropped = sum(point.dropped for point in points)
    early = f"{dropped} of them dropped early"
    if sampled_from is not None and sampled_from > len(points):
        early = f"of which {len(points)} are drawn, {early}"
    best = next((p.best for p in reversed(points) if p.best is not None), None)
    return "; ".join(
        [
            f"Search fitness of {sampled_from or len(points)} candidates, {early}",
            "none was scored on all documents" if best is None else f"best {best:.4f}",
            *(f"{name} {value:.4f}" for name, value in baselines),
        ]
    )


def _whole_ticks(x: Scale) -> list[float]:
    return [tick for tick in ticks(x.low, x.high) if tick == int(tick)]


def _baseline_lines(baselines: Baselines, y: Scale, end: float, *, beside: bool) -> Iterator[str]:
    """All of them as thin lines; names beside them where there is room, from the best down.

    On a phone the best one alone has its name, above its line.
    """
    taken: list[float] = []
    for place, (name, value) in enumerate(baselines):
        classes = "baseline best-baseline" if place == 0 else "baseline"
        yield line(LEFT, y(value), end, y(value), classes, f"{name}: {value:.4f}")
        if not beside:
            if place == 0:
                yield text(end, y(value) - 5, short(name, 30), "tick", "end")
        elif all(abs(y(value) - other) > 12 for other in taken):
            taken.append(y(value))
            yield text(end + 5, y(value) + 4, short(name, 16), "tick", "start")


def _marks(
    points: Sequence[Point], place: Callable[[Point], int], x: Scale, y: Scale, most: int
) -> Iterator[str]:
    """Dots; crosses for those that lost a race, rings for those that miss a constraint."""
    step = -(-len(points) // most)
    for point in points[::step]:
        left, top = x(place(point)), y(point.fitness)
        title = f"{point.label}: {point.fitness:.4f}"
        if point.dropped:
            cross = f"M{left - 2.5:.1f} {top - 2.5:.1f}l5 5m0-5l-5 5"
            yield path(cross, "dropped", f"{title}, dropped early")
        elif point.feasible:
            yield circle(left, top, 2.6, "dot", title)
        else:
            yield circle(left, top, 2.6, "dot infeasible", f"{title}, misses a constraint")


def _best_so_far(points: Sequence[Point], place: Callable[[Point], int], x: Scale, y: Scale) -> str:
    steps, last = "", None
    for point in points:
        if point.best is not None and point.best != last:
            left, top = x(place(point)), y(point.best)
            steps += f"H{left:.1f}V{top:.1f}" if steps else f"M{left:.1f} {top:.1f}"
            last = point.best
    return path(f"{steps}H{x(place(points[-1])):.1f}", "best-line") if steps else ""
