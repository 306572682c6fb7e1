"""Lays a report out: the template and the few functions that it calls."""

from collections.abc import Callable
from functools import partial
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from evomerge import __version__
from evomerge.report.charts import (
    cloud_of,
    cost_bar,
    history_chart,
    importance_chart,
    lead_chart,
    pareto_chart,
    pareto_pairs,
    share_text,
    styles,
)
from evomerge.report.content import embedded
from evomerge.report.data import ReportData

Sizes = dict[str, Markup]
_WIDTHS = {"wide": 900.0, "narrow": 340.0}
_PAIR_WIDTHS = {"wide": 440.0, "narrow": 340.0}


def render(data: ReportData) -> str:
    """The page."""
    template = files("evomerge.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(heat=heat, seconds=seconds, breakable=breakable, share=share_text)
    return environment.from_string(template).render(
        data=data,
        results=data.results,
        insight=data.insight,
        charts=_charts(data),
        pairs=_pairs(data),
        chart_styles=Markup(styles()),
        # Escaped there, so that it can stand inside a script element.
        embedded=Markup(embedded(data)),
        version=__version__,
    )


def _charts(data: ReportData) -> dict[str, Sizes]:
    """Each chart for a wide and for a narrow screen."""
    history = partial(history_chart, data.insight.history, data.baselines)
    importance = data.insight.importance
    draw: dict[str, Callable[[float], str]] = {
        "leads": partial(lead_chart, data.results),
        "by_candidates": history,
        "by_documents": partial(history, by_documents=True),
        "importance": partial(importance_chart, importance.features),
        "costs": partial(cost_bar, data.costs),
    }
    for facet, effects in (importance.groups or {}).items():
        draw[f"importance_{facet}"] = partial(importance_chart, effects)
    return {name: _sizes(make, _WIDTHS) for name, make in draw.items()}


def _pairs(data: ReportData) -> list[Sizes]:
    """The front, two objectives at a time; a single pair has the whole width."""
    front = data.results.front
    if front is None:
        return []
    cloud, pairs = cloud_of(front), pareto_pairs(list(front.reference))
    widths = _WIDTHS if len(pairs) == 1 else _PAIR_WIDTHS
    return [_sizes(partial(pareto_chart, cloud, *pair), widths) for pair in pairs]


def _sizes(make: Callable[[float], str], widths: dict[str, float]) -> Sizes:
    # Our own drawing; every text in it is escaped there.
    return {size: Markup(make(width)) for size, width in widths.items()}


def breakable(name: str) -> Markup:
    """A name that may be broken after its underscores, and is copied without a trace of that."""
    return Markup("_<wbr>").join(name.split("_"))


def heat(value: float, peak: float) -> str:
    """The CSS class and strength of a cell: warm above zero, cold below."""
    strength = min(1.0, abs(value) / peak)
    return f"--heat: {strength * 100:.0f}%; --tone: var(--{'warm' if value >= 0 else 'cold'})"


def seconds(value: float) -> str:
    """Seconds, minutes or hours."""
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"
