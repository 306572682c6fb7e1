"""The best so far as a line without axes, to be read beside a figure."""

from collections.abc import Sequence

from evomerge.report.charts.svg import Scale, circle, path, svg

_WIDTH, _HEIGHT, _AIR = 132.0, 32.0, 4.0


def spark_line(points: Sequence[tuple[int, float]], last: int) -> str:
    """Steps through (number, best so far), up to number `last`; empty below two points."""
    if len(points) < 2:
        return ""
    values = [value for _, value in points]
    x = Scale(points[0][0], max(last, points[-1][0]), _AIR, _WIDTH - _AIR)
    y = Scale(min(values), max(values), _HEIGHT - _AIR, _AIR)
    steps = "".join(f"H{x(number):.1f}V{y(value):.1f}" for number, value in points[1:])
    start = f"M{x(points[0][0]):.1f} {y(values[0]):.1f}"
    end = x(max(last, points[-1][0]))
    body = [
        path(f"{start}{steps}H{end:.1f}", "spark"),
        circle(end, y(values[-1]), 2.5, "spark-end"),
    ]
    return svg(_WIDTH, _HEIGHT, f"Best so far: from {values[0]:.4f} to {values[-1]:.4f}", body)
