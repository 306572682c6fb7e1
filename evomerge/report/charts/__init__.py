"""Charts as plain SVG, coloured by the page they stand on."""

from evomerge.report.charts.costs import cost_bar
from evomerge.report.charts.history import history_chart
from evomerge.report.charts.intervals import importance_chart, lead_chart, lead_text, share_text
from evomerge.report.charts.pareto import pareto_chart, pareto_pairs
from evomerge.report.charts.svg import Scale, ticks

__all__ = [
    "Scale",
    "cost_bar",
    "history_chart",
    "importance_chart",
    "lead_chart",
    "lead_text",
    "pareto_chart",
    "pareto_pairs",
    "share_text",
    "ticks",
]
