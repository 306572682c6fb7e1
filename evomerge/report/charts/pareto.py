"""The front of a search, two objectives at a time."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

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
from evomerge.results import Front

Objectives = Mapping[str, float]
_MOST = 4
"""Objectives whose pairs are drawn."""


@dataclass(frozen=True)
class Cloud:
    """Candidates by their objectives: members of the front, baselines, and those that members beat."""

    members: Sequence[tuple[str, Objectives]]
    rivals: Sequence[tuple[str, Objectives]]
    beaten: Sequence[Objectives] = ()


def cloud_of(front: Front) -> Cloud:
    """A front as it is drawn."""
    members = [(m.row.label, m.row.objectives) for m in front.members]
    return Cloud(members, [(row.label, row.objectives) for row in front.rivals], front.beaten)


def pareto_pairs(names: Sequence[str]) -> list[tuple[str, str]]:
    """The pairs of objectives that are drawn."""
    drawn = names[:_MOST]
    return [(a, b) for n, a in enumerate(drawn) for b in drawn[n + 1 :]]


def pareto_chart(cloud: Cloud, across: str, up: str, width: float) -> str:
    """The cloud in two objectives; empty where it has no members."""
    members, rivals = cloud.members, cloud.rivals
    if not members:
        return ""
    height = min(0.62 * width, 420.0)
    points = [*(o for _, o in members), *(o for _, o in rivals), *cloud.beaten]
    x = Scale(*padded(o[across] for o in points), LEFT, width - RIGHT)
    y = Scale(*padded(o[up] for o in points), height - BOTTOM, TOP + 12)
    body = [
        *y_axis(y, LEFT, width - RIGHT),
        *x_axis(x, ticks(x.low, x.high), height, across),
        text(LEFT, TOP, up, "tick", "start"),
        *_beaten(cloud.beaten, across, up, x, y),
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
            fits = left < x.end - 100
            shift, anchor = (7, "start") if fits else (-7, "end")
            yield text(left + shift, top + 4, short(name, 16), "tick", anchor)
