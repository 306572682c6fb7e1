"""Where the time went, as one bar."""

from collections.abc import Mapping
from html import escape

from evomerge.report.charts.svg import rect, svg, text

_LETTER = 7.2
"""Width of a letter, about."""
_TOP = 16.0
"""Room for names above the bar; those of narrow parts are in the key alone."""


def cost_bar(costs: Mapping[str, float], width: float) -> str:
    """One bar of all worker seconds, cut by what they were spent on."""
    total = sum(costs.values())
    if total <= 0:
        return ""
    body, x = [], 0.0
    for name, seconds in costs.items():
        part = width * seconds / total
        title = f"{name}: {seconds:.1f} s, {100 * seconds / total:.1f} %"
        body.append(rect(x, _TOP, part, 22, f"cost cost-{escape(name)}", title))
        if part > _LETTER * len(name) + 8:
            body.append(text(x, 10, name, "tick", "start"))
        x += part
    label = ", ".join(f"{n} {s:.1f} seconds" for n, s in costs.items())
    return svg(width, _TOP + 22, f"Worker time: {label}", body)
