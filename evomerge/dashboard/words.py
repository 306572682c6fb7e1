"""Figures and moments as people say them; the filters of the templates."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from markupsafe import Markup

from evomerge.bootstrap import Estimate

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_STEPS = 10
NOTHING = "–"


def figure(value: float | None) -> str:
    """A score or a fitness: four decimals."""
    return NOTHING if value is None else f"{value:.4f}".replace("-", "−")


def signed(value: float | None) -> str:
    """A difference, with its sign."""
    return NOTHING if value is None else f"{value:+.4f}".replace("-", "−")


def count(value: float) -> str:
    """A whole number, in groups of three."""
    return f"{value:,.0f}".replace(",", "\u202f")


def percent(share: float) -> str:
    """A share; small ones keep a decimal."""
    shown = 100 * share
    return f"{shown:.0f} %" if shown >= 10 or shown == 0 else f"{shown:.1f} %"


def interval(estimate: Estimate) -> str:
    """`0.6120 to 0.6410`, or nothing where none is known."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{figure(estimate.low)} to {figure(estimate.high)}"


def duration(seconds: float) -> str:
    """`35 s`, `12 min`, `3 h 05 min`, `2 d 4 h`."""
    if seconds < 1:
        return f"{seconds:.1f} s" if seconds >= 0.05 else "0 s"
    if seconds < 1.5 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 1.5 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        minutes = round(seconds / _MINUTE)
        return f"{minutes // 60} h {minutes % 60:02} min"
    hours = round(seconds / _HOUR)
    return f"{hours // 24} d {hours % 24} h"


def ago(then: datetime | float | None, now: datetime | None = None) -> str:
    """How long ago a moment was."""
    if then is None:
        return ""
    moment = then if isinstance(then, datetime) else datetime.fromtimestamp(then, UTC)
    seconds = ((now or datetime.now(UTC)) - moment).total_seconds()
    return "just now" if seconds < 5 else f"{duration(seconds)} ago"


def moment(then: datetime) -> Markup:
    """A `time` element: how long ago for people, the exact moment for programs and on hover."""
    exact = then.astimezone(UTC)
    markup = '<time datetime="{}" title="{}">{}</time>'
    shown = exact.strftime("%d %b %Y, %H:%M UTC")
    return Markup(markup).format(exact.isoformat(timespec="seconds"), shown, ago(then))


def model_name(name: str) -> str:
    """The last part of a model's path or hub id."""
    return Path(name).name or name


def breakable(name: str) -> Markup:
    """A name that may be broken after underscores, slashes and dashes."""
    parts = []
    for letter in name:
        parts.append(Markup.escape(letter))
        if letter in "_/-":
            parts.append(Markup("<wbr>"))
    return Markup("").join(parts)


def heat(value: float, peak: float) -> str:
    """The classes of a cell of a heat map: warm above zero, cold below, in ten steps."""
    tone = "warm" if value >= 0 else "cold"
    return f"{tone} heat-{round(_STEPS * min(1.0, abs(value) / peak))}"


FILTERS: dict[str, Callable[..., Any]] = {
    "figure": figure,
    "signed": signed,
    "count": count,
    "percent": percent,
    "interval": interval,
    "duration": duration,
    "ago": ago,
    "moment": moment,
    "model_name": model_name,
    "breakable": breakable,
    "heat": heat,
}
