"""The charts of a report as PNG files, for slides and papers; drawn by matplotlib where it is there."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from evomerge.bootstrap import Estimate
from evomerge.errors import ResourceError
from evomerge.insight import Point
from evomerge.report.charts import pareto_pairs
from evomerge.report.data import ReportData
from evomerge.report.heatmap import HeatMap
from evomerge.results import Front

_DPI = 160
_BLUE, _PALE, _WARM, _SOFT, _GREEN = "#1b6ca8", "#8fb6d4", "#e0782f", "#5c6670", "#1a7f4b"
_COSTS = {
    "merge": _BLUE,
    "load": "#7a5ea8",
    "forward": "#2f9e77",
    "overhead": "#c98a1b",
    "lost": "#b3372f",
    "other": "#8a939c",
    "waiting": "#d5dadf",
}
_DOTS: tuple[tuple[Callable[[Point], bool], dict[str, Any]], ...] = (
    (lambda p: p.dropped, {"marker": "x", "color": _SOFT, "alpha": 0.5}),
    (
        lambda p: not p.dropped and not p.feasible,
        {"marker": "o", "facecolors": "none", "edgecolors": "#b3372f"},
    ),
    (lambda p: not p.dropped and p.feasible, {"marker": "o", "color": _PALE}),
)
"""Candidates that lost a race, that miss a constraint, and all others."""
Draw = Callable[[Any], None]
"""Draws onto matplotlib axes."""


def draw(data: ReportData, folder: Path) -> list[Path]:
    """Every chart that the report has something to show in; the files, in the report's order."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ResourceError(
            "PNG files need matplotlib, which is not installed",
            remedy="pip install 'evomerge[insight]', or leave out `--as png`",
        ) from error
    written = []
    for name, size, onto in _figures(data):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(figure)
        onto(figure.add_subplot())
        file = folder / f"{name}.png"
        figure.savefig(file, dpi=_DPI)
        written.append(file)
    return written


def _figures(data: ReportData) -> Iterator[tuple[str, tuple[float, float], Draw]]:
    leads = [(r.label, r.lead) for r in reversed(data.results.rows) if r.lead is not None]
    if leads:
        yield "leads", _tall(leads), _intervals(leads, "winner's lead in fitness", bars=False)
    front = data.results.front
    if front is not None:
        for across, up in pareto_pairs(list(front.reference)):
            yield f"front_{_safe(across)}_{_safe(up)}", (6, 4.2), _front(front, across, up)
    if data.insight.history:
        yield "history", (8, 4), _history(data, by_documents=False)
        yield "history_by_documents", (8, 4), _history(data, by_documents=True)
    importance = data.insight.importance
    if importance.features and not importance.note:
        rows = [(e.label, e.share) for e in reversed(importance.features[:15])]
        title = "share of the variance of fitness"
        yield "importance", _tall(rows), _intervals(rows, title, bars=True)
    for heat in data.maps:
        size = (2.5 + 0.6 * max(len(heat.columns), 1), 1.2 + 0.3 * len(heat.rows))
        yield f"recipe_{_safe(heat.parameter)}", size, _heat(heat)
    if data.costs:
        yield "time", (8, 1.6), _time(data)


def _tall(rows: Sequence[Any]) -> tuple[float, float]:
    return 7.0, 1.0 + 0.3 * len(rows)


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() else "_" for letter in name)


def _history(data: ReportData, *, by_documents: bool) -> Draw:
    points = data.insight.history
    place = [p.documents if by_documents else p.number for p in points]

    def onto(axes: Any) -> None:
        for has_mark, style in _DOTS:
            chosen = [(x, p.fitness) for x, p in zip(place, points, strict=True) if has_mark(p)]
            axes.scatter(
                [x for x, _ in chosen], [y for _, y in chosen], s=12, linewidths=1, **style
            )
        best = [(x, p.best) for x, p in zip(place, points, strict=True) if p.best is not None]
        if best:
            axes.plot(*zip(*best, strict=True), color=_BLUE, drawstyle="steps-post")
        _baselines(axes, data.baselines)
        axes.set_xlabel("documents answered" if by_documents else "candidate")
        axes.set_ylabel("fitness on the search split")

    return onto


def _baselines(axes: Any, baselines: Sequence[tuple[str, float]]) -> None:
    """A line each, the best with its name."""
    for _, value in baselines[1:]:
        axes.axhline(value, color=_SOFT, linewidth=0.8, linestyle="--")
    for name, value in baselines[:1]:
        axes.axhline(value, color=_WARM, linewidth=0.8, linestyle="--")
        style = {"color": _WARM, "fontsize": 8, "va": "center"}
        over = ("axes fraction", "data")
        axes.annotate(name, (1, value), (4, 0), over, textcoords="offset points", **style)


def _intervals(rows: Sequence[tuple[str, Estimate]], title: str, *, bars: bool) -> Draw:
    def onto(axes: Any) -> None:
        for place, (_, estimate) in enumerate(rows):
            sure = estimate.low is not None and estimate.low > 0
            if bars:
                axes.barh(place, estimate.value, color=_PALE if sure else "#d5dadf", height=0.6)
            else:
                axes.plot(estimate.value, place, "o", color=_GREEN if sure else _SOFT)
            if estimate.low is not None and estimate.high is not None:
                axes.plot([estimate.low, estimate.high], [place] * 2, color=_SOFT, linewidth=1.2)
        axes.axvline(0, color=_SOFT, linewidth=0.8)
        axes.set_yticks(range(len(rows)), [name for name, _ in rows], fontsize=8)
        axes.set_xlabel(title)

    return onto


def _front(front: Front, across: str, up: str) -> Draw:
    def onto(axes: Any) -> None:
        axes.scatter([o[across] for o in front.beaten], [o[up] for o in front.beaten], s=8, c=_PALE)
        rivals = [row.objectives for row in front.rivals]
        axes.scatter([o[across] for o in rivals], [o[up] for o in rivals], marker="+", c=_WARM)
        for row in front.rivals:
            place = (row.objectives[across], row.objectives[up])
            axes.annotate(row.label, place, (4, 2), textcoords="offset points", fontsize=6)
        members = [member.row.objectives for member in front.members]
        axes.scatter([o[across] for o in members], [o[up] for o in members], s=28, c=_BLUE)
        axes.set_xlabel(across)
        axes.set_ylabel(up)

    return onto


def _heat(heat: HeatMap) -> Draw:
    width = max(len(heat.columns), 1)
    # A row with one value for all layers has that value in every column.
    values = [[row.values[min(n, len(row.values) - 1)] for n in range(width)] for row in heat.rows]

    def onto(axes: Any) -> None:
        axes.imshow(
            values, cmap="PuOr_r", vmin=-1.2 * heat.peak, vmax=1.2 * heat.peak, aspect="auto"
        )
        for y, row in enumerate(values):
            for x, value in enumerate(row):
                ink = "white" if abs(value) > 0.7 * heat.peak else "black"
                axes.text(x, y, f"{value:.2f}", ha="center", va="center", fontsize=7, color=ink)
        axes.set_xticks(range(width), heat.columns or ("all layers",), fontsize=7)
        axes.set_yticks(range(len(values)), [f"{r.model} {r.place}" for r in heat.rows], fontsize=7)
        axes.set_title(heat.parameter, fontsize=10)
        axes.set_xlabel("layers", fontsize=8)

    return onto


def _time(data: ReportData) -> Draw:
    def onto(axes: Any) -> None:
        left = 0.0
        for name, spent in data.costs.items():
            axes.barh(0, spent, left=left, color=_COSTS[name], label=f"{name} {spent:.1f} s")
            left += spent
        axes.set_yticks([])
        axes.set_xlabel("seconds of all workers")
        axes.legend(
            ncols=4, fontsize=7, loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False
        )

    return onto
