"""Lays a report out: the template and the few functions that it calls."""

from collections.abc import Callable
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from evomerge import __version__
from evomerge.report.charts import cost_bar, history_chart, lead_chart
from evomerge.report.data import ReportData

_WIDTHS = {"wide": 900.0, "narrow": 340.0}


def render(data: ReportData) -> str:
    """The page."""
    template = files("evomerge.report").joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(heat=heat, seconds=seconds, breakable=breakable)
    page = environment.from_string(template)
    return page.render(data=data, results=data.results, charts=_charts(data), version=__version__)


def _charts(data: ReportData) -> dict[str, dict[str, Markup]]:
    """Each chart for a wide and for a narrow screen."""
    draw: dict[str, Callable[[float], str]] = {
        "leads": lambda width: lead_chart(data.results, width),
        "history": lambda width: history_chart(data.history, data.baselines, width),
        "costs": lambda width: cost_bar(data.costs, width),
    }
    return {
        # Our own drawing; every text in it is escaped there.
        name: {size: Markup(make(width)) for size, width in _WIDTHS.items()}
        for name, make in draw.items()
    }


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
