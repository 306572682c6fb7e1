"""A study as one HTML file: tables and charts, no network, light and dark."""

import json
from collections.abc import Callable, Iterator
from functools import partial
from importlib.resources import files

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from evomerge import __version__
from evomerge.report.charts import styles
from evomerge.study.charts import Axis, Series, line_chart, scatter_chart
from evomerge.study.content import study_content
from evomerge.study.measures import MEASURES
from evomerge.study.roles import Role
from evomerge.study.rows import Row
from evomerge.study.run import StudyResult
from evomerge.study.tables import Tables
from evomerge.study.words import HEADINGS, tables_of

GENERATOR = '<meta name="generator" content="evomerge'
_WIDTHS = {"wide": 860.0, "narrow": 340.0}
Draw = Callable[[float], str]


def render(result: StudyResult, tables: Tables) -> str:
    """The page."""
    template = files("evomerge.study").joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    written = json.dumps(study_content(result, tables), ensure_ascii=False, separators=(",", ":"))
    return environment.from_string(template).render(
        study=result.spec,
        trainings=len({base.base.training for base in result.bases}),
        parameters=tables.parameters,
        charts=[
            {"title": title, **{size: Markup(draw(width)) for size, width in _WIDTHS.items()}}
            for title, draw in _charts(result, tables)
            if draw(_WIDTHS["wide"])
        ],
        tables=tables_of(tables),
        chart_styles=Markup(styles()),
        embedded=Markup(written.replace("<", "\\u003c")),
        version=__version__,
    )


def _charts(result: StudyResult, tables: Tables) -> Iterator[tuple[str, Draw]]:
    """Title and drawing of each chart that has anything to show."""
    labels = [entry.label for entry in result.spec.methods]
    for role in MEASURES:
        for base in tables.parameters:
            yield (
                f"{HEADINGS[role]}, by the number of experts{_of(base, tables)}",
                partial(_by_experts, tables, labels, base, role),
            )
    for role in MEASURES:
        yield f"{HEADINGS[role]}, by model size", partial(_by_size, tables, labels, role)
    for base in tables.parameters:
        title = f"{HEADINGS[Role.HELD_IN]} and cost{_of(base, tables)}"
        yield title, partial(_by_cost, tables, base)


def _of(base: str, tables: Tables) -> str:
    """Which base a chart is of, where there are several."""
    return f": {base}" if len(tables.parameters) > 1 else ""


def _by_experts(tables: Tables, labels: list[str], base: str, role: Role, width: float) -> str:
    rows = [row for row in tables.rows if row.base == base and row.size and role in row.measures]
    sizes = sorted({row.size for row in rows})
    if len(sizes) < 2:
        return ""
    series = [_series(label, [(row.size, row) for row in rows], role) for label in labels]
    axis = Axis("experts merged", {size: str(size) for size in sizes})
    return line_chart(f"{HEADINGS[role]} by experts", axis, series, width)


def _by_size(tables: Tables, labels: list[str], role: Role, width: float) -> str:
    if len(tables.parameters) < 2:
        return ""
    largest = max((row.size for row in tables.rows), default=0)
    rows = [row for row in tables.rows if row.size == largest and role in row.measures]
    placed = [(float(tables.parameters[row.base]), row) for row in rows]
    series = [_series(label, sorted(placed, key=lambda pair: pair[0]), role) for label in labels]
    marks = {float(count): base for base, count in tables.parameters.items()}
    axis = Axis(f"parameters of the base, {largest} experts merged", marks, log=True)
    return line_chart(f"{HEADINGS[role]} by model size", axis, series, width)


def _series(label: str, placed: "list[tuple[float, Row]]", role: Role) -> Series:
    return Series(label, [(x, row.measures[role]) for x, row in placed if row.label == label])


def _by_cost(tables: Tables, base: str, width: float) -> str:
    costs = [cost for cost in tables.costs if cost.base == base]
    largest = max((cost.size for cost in costs), default=0)
    rows = {row.label: row for row in tables.rows if row.base == base and row.size == largest}
    points = [
        Series(cost.label, [(cost.flops, rows[cost.label].measures[Role.HELD_IN])])
        for cost in costs
        if cost.size == largest and cost.flops and Role.HELD_IN in rows[cost.label].measures
    ]
    title = f"{HEADINGS[Role.HELD_IN]} by cost"
    return scatter_chart(title, f"FLOPs in all, {largest} experts merged", points, width)
