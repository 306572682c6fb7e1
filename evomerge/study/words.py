"""Figures of a study as people read them: the same in the terminal, in Markdown and on the page."""

from collections.abc import Sequence
from dataclasses import dataclass

from evomerge.bootstrap import Estimate
from evomerge.study.costs import Cost, Prerequisites
from evomerge.study.measures import MEASURES
from evomerge.study.roles import Role
from evomerge.study.rows import Row
from evomerge.study.tables import Tables

HEADINGS = {
    Role.HELD_IN: "held-in / expert",
    Role.COMBINATION: "combinations",
    Role.HELD_OUT: "held-out / base",
}


@dataclass(frozen=True)
class Table:
    """A title, columns and cells; the first `names` columns are names, the others figures."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    names: int = 1


def tables_of(tables: Tables) -> list[Table]:
    """Everything that a study has to show as tables; empty ones are left out."""
    parts = [measures(tables), leads(tables), relations(tables), costs(tables), needs(tables)]
    found = [*(table for table in parts if table.rows), *failures(tables)]
    return [_trimmed(table, one_base=len(tables.parameters) == 1) for table in found]


def _trimmed(table: Table, *, one_base: bool) -> Table:
    """Without the base where there is only one, and without figures that nothing has."""
    base = one_base and table.columns[0] == "base"
    kept = [
        place
        for place in range(len(table.columns))
        if (place < table.names or any(row[place] for row in table.rows))
        and not (base and not place)
    ]
    rows = [[row[place] for place in kept] for row in table.rows]
    columns = [table.columns[place] for place in kept]
    return Table(table.title, columns, rows, table.names - base)


def measures(tables: Tables) -> Table:
    """Each method on each size, related to experts and base."""
    shown = [role for role in MEASURES if any(role in row.measures for row in tables.rows)]
    columns = ("base", "method", "experts", *(HEADINGS[role] for role in shown))
    rows = [
        (row.base, row.label, _size(row), *(figure(row.measures.get(role)) for role in shown))
        for row in tables.rows
    ]
    return Table("Measures, 95 % intervals", columns, rows, 3)


def leads(tables: Tables) -> Table:
    """Each method above the first one, on the same subsets."""
    rows = [row for row in tables.rows if row.leads]
    shown = [role for role in MEASURES if any(role in row.leads for row in rows)]
    columns = ("base", "method", "experts", *(HEADINGS[role] for role in shown))
    first = next((row.label for row in tables.rows if row.size), "")
    cells = [
        (row.base, row.label, _size(row), *(signed(row.leads.get(role)) for role in shown))
        for row in rows
    ]
    return Table(f"Above {first}, paired", columns, cells, 3)


def relations(tables: Tables) -> Table:
    """How measures go together over merges."""
    rows = [
        (
            one.base,
            str(one.size),
            f"{one.one.value} and {one.other.value}",
            str(one.merges),
            signed(one.correlation),
        )
        for one in tables.relations
    ]
    columns = ("base", "experts", "measures", "merges", "correlation")
    return Table("Do measures go together?", columns, rows, 3)


def costs(tables: Tables) -> Table:
    """What each method took."""
    columns = (
        *("base", "method", "experts", "FLOPs, statistics", "FLOPs, merge", "FLOPs, choice"),
        *("s, statistics", "s, merge", "s, choice", "candidates", "MB, statistics", "MB, peak"),
    )
    return Table("Cost", columns, [_cost(one) for one in tables.costs], 3)


def _cost(one: Cost) -> tuple[str, ...]:
    return (
        one.base,
        one.label,
        str(one.size),
        power(one.statistics_flops),
        power(one.merge_flops),
        power(one.choice_flops),
        seconds(one.statistics_seconds),
        seconds(one.merge_seconds),
        seconds(one.choice_seconds),
        f"{one.candidates:.0f}" if one.candidates else "",
        megabytes(one.statistics_bytes),
        megabytes(one.peak_bytes),
    )


def needs(tables: Tables) -> Table:
    """What has to be there before a method can be used."""
    columns = (
        "method",
        "base",
        "models",
        "initialisation",
        "texts",
        "statistics",
        "gradients",
        "scores",
    )
    return Table("Prerequisites", columns, [_needs(one) for one in tables.prerequisites], 8)


def _needs(one: Prerequisites) -> tuple[str, ...]:
    marks = {True: "yes", False: ""}
    return (
        *(one.label, one.base, one.models, one.initialisation, marks[one.texts]),
        *(", ".join(one.statistics), marks[one.gradients], marks[one.scored_documents]),
    )


def failures(tables: Tables) -> list[Table]:
    """What gave no score, and ratios that do not exist."""
    lost = [
        (f"{row.label} on {row.base}", f"no ratio to 0: {', '.join(row.undefined)}")
        for row in tables.rows
        if row.undefined
    ]
    rows = [*tables.failures, *lost]
    return [Table("Without a figure", ("merge", "why"), rows, 2)] if rows else []


def figure(estimate: Estimate | None) -> str:
    """`0.930 [0.910, 0.950]`, or nothing."""
    return _interval(estimate, "")


def signed(estimate: Estimate | None) -> str:
    """`+0.030 [-0.010, +0.050]`, or nothing."""
    return _interval(estimate, "+")


def _interval(estimate: Estimate | None, sign: str) -> str:
    if estimate is None or estimate.value != estimate.value:
        return "n/a" if estimate is not None else ""
    if estimate.low is None or estimate.high is None:
        return f"{estimate.value:{sign}.3f}"
    return f"{estimate.value:{sign}.3f} [{estimate.low:{sign}.3f}, {estimate.high:{sign}.3f}]"


def power(value: float | None) -> str:
    """`1.2e+09`; nothing for 0."""
    if value is None:
        return "n/a"
    return f"{value:.1e}" if value else ""


def seconds(value: float) -> str:
    """Three digits at most; nothing for 0."""
    if not value:
        return ""
    return f"{value:.3f}" if value < 1 else f"{value:.1f}"


def megabytes(value: float | None) -> str:
    """Of 10⁶ bytes; nothing where it is not known or 0."""
    return f"{value / 1e6:.1f}" if value else ""


def _size(row: Row) -> str:
    return str(row.size) if row.size else ""


def markdown(tables: Tables) -> str:
    """All tables in Markdown."""
    return "\n\n".join(_markdown(table) for table in tables_of(tables)) + "\n"


def _markdown(table: Table) -> str:
    rule = ["---" if place < table.names else "---:" for place in range(len(table.columns))]
    lines = [list(table.columns), rule, *map(list, table.rows)]
    body = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return f"**{table.title}**\n\n{body}"
