"""The front of a search, two objectives at a time."""

from collections.abc import Iterator, Mapping, Sequence

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
    y_axis,
)
from evomerge.results import Front

Objectives = Mapping[str, float]
_MOST = 4
"""Objectives whose pairs are drawn."""


def pareto_pairs(front: Front | None) -> list[tuple[str, str]]:
    """The pairs of objectives that are drawn."""
    names = [] if front is None else list(front.reference)[:_MOST]
    return [(a, b) for n, a in enumerate(names) for b in names[n + 1 :]]


def pareto_chart(front: Front, across: str, up: str, width: float) -> str:
    """Members of the front, the candidates that they beat, and the baselines, in two objectives."""
    height = min(0.62 * width, 420.0)
    members = [(m.row.label, m.row.objectives) for m in front.members]
    rivals = [(row.label, row.objectives) for row in front.rivals]
    points = [*(o for _, o in members), *(o for _, o in rivals), *front.beaten]
    x = Scale(*padded(o[across] for o in points), LEFT, width - RIGHT)
    y = Scale(*padded(o[up] for o in points), height - BOTTOM, TOP + 12)
    body = [
        *y_axis(y, LEFT, width - RIGHT),
        *(text(x(t), height - 18, f"{t:g}", "tick") for t in ticks(x.low, x.high)),
        text((LEFT + width) / 2, height - 2, across, "tick"),
        text(LEFT, TOP, up, "tick", "start"),
        *_beaten(front.beaten, across, up, x, y),
        _reach(members, across, up, x, y),
        *(
            circle(x(o[across]), y(o[up]), 4.2, "member", _words(name, o, across, up))
            for name, o in members
        ),
        *_rivals(rivals, across, up, x, y),
    ]
    label = f"{len(members)} merges of the front by {across} and {up}: " + "; ".join(
        _words(name, o, across, up) for name, o in [*members, *rivals]
    )
    return svg(width, height, label, body)


def _words(name: str, objectives: Objectives, across: str, up: str) -> str:
    return f"{name}: {across} {objectives[across]:.4f}, {up} {objectives[up]:.4f}"


def _beaten(
    points: Sequence[Objectives], across: str, up: str, x: Scale, y: Scale
) -> Iterator[str]:
    for one in points[:: -(-len(points) // MAX_POINTS) or 1]:
        yield circle(x(one[across]), y(one[up]), 2.2, "dot")


def _reach(
    members: Sequence[tuple[str, Objectives]], across: str, up: str, x: Scale, y: Scale
) -> str:
    """The border of what some member reaches in both, from left to right."""
    best, corners = float("-inf"), []
    for one in sorted((o for _, o in members), key=lambda o: (-o[across], -o[up])):
        if one[up] > best:
            corners.append((x(one[across]), y(one[up])))
            best = one[up]
    corners.reverse()
    steps = "".join(f"H{left:.1f}V{top:.1f}" for left, top in corners)
    first = corners[0][1]
    return path(f"M{x.start:.1f} {first:.1f}{steps}V{y.start:.1f}", "reach")


def _rivals(
    rivals: Sequence[tuple[str, Objectives]], across: str, up: str, x: Scale, y: Scale
) -> Iterator[str]:
    """Baselines as crosses, named where there is room."""
    taken: list[tuple[float, float]] = []
    for name, one in rivals:
        left, top = x(one[across]), y(one[up])
        title = _words(name, one, across, up)
        yield line(left - 4, top, left + 4, top, "rival", title)
        yield line(left, top - 4, left, top + 4, "rival", title)
        if all(abs(left - a) > 90 or abs(top - b) > 12 for a, b in taken):
            taken.append((left, top))
            fits = left < x.end - 80
            shift, anchor = (7, "start") if fits else (-7, "end")
            yield text(left + shift, top + 4, short(name, 16), "tick", anchor)
