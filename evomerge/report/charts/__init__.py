"""Charts as plain SVG, coloured by the page they stand on (`styles`)."""

from importlib.resources import files

from evomerge.report.charts.costs import cost_bar
from evomerge.report.charts.history import history_chart
from evomerge.report.charts.intervals import (
    difference_chart,
    estimate_text,
    importance_chart,
    lead_chart,
    lead_text,
    share_text,
)
from evomerge.report.charts.pareto import Cloud, cloud_of, pareto_chart, pareto_pairs
from evomerge.report.charts.spark import spark_line
from evomerge.report.charts.svg import Scale, ticks


def styles() -> str:
    """The style sheet of the charts and their colours."""
    return files("evomerge.report.charts").joinpath("charts.css").read_text(encoding="utf-8")


__all__ = [
    "Cloud",
    "Scale",
    "cloud_of",
    "cost_bar",
    "difference_chart",
    "estimate_text",
    "history_chart",
    "importance_chart",
    "lead_chart",
    "lead_text",
    "pareto_chart",
    "pareto_pairs",
    "share_text",
    "spark_line",
    "styles",
    "ticks",
]
