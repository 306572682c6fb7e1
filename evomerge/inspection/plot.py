"""The geometry as a picture: one SVG, or a page with it. Every cell has its figure written in it.

Colours only repeat what the figures say: one blue that grows with the value; below zero an orange one
with stripes, and the figure carries its sign. Both are of Okabe & Ito's palette.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from evomerge.inspection.reading import labels, percent, signed
from evomerge.inspection.types import Geometry, Inspection, Pair, Region

_ROW, _GAP, _CELL, _LEFT, _TITLE = 24, 46, 86, 190, 600
_STYLE = """
.paper { fill: #ffffff } text { font: 12px system-ui, sans-serif; fill: #16191d }
.title { font-weight: 600; font-size: 13px } .soft { fill: #56606b }
.cell { stroke: #ffffff; stroke-width: 2 } .warm { fill: url(#stripes) } .cold { fill: #0072b2 }
.none { fill: #eef0f2 }
"""
_STRIPES = (
    '<defs><pattern id="stripes" width="6" height="6" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><rect width="6" height="6" fill="#d55e00"/>'
    '<rect width="2" height="6" fill="#ffffff"/></pattern></defs>'
)


@dataclass(frozen=True)
class _Grid:
    """A table of figures: `strength` in [-1, 1] colours a cell, None leaves it grey."""

    title: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[tuple[str, float | None]]]]


def draw_svg(geometry: Geometry) -> str:
    """The picture: distances by layers and kinds, then cosines and opposite signs of every pair."""
    grids = [_distances(geometry), *_pairs(geometry)]
    width = max(_LEFT + _CELL * max(len(grid.columns) for grid in grids) + 20, _TITLE)
    body: list[str] = []
    top = 20
    for grid in grids:
        body += _draw(grid, top)
        top += _ROW * (len(grid.rows) + 1) + _GAP
    label = f"Distances from {geometry.base} and conflicts between task vectors"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{escape(label)}" '
        f'width="{width}" height="{top}" viewBox="0 0 {width} {top}">'
        f'<style>{_STYLE}</style>{_STRIPES}<rect class="paper" width="{width}" height="{top}"/>'
        f"{''.join(body)}</svg>\n"
    )


def draw_page(inspection: Inspection, geometry: Geometry) -> str:
    """The picture and the reading, as one HTML file that needs nothing else."""
    items = "".join(
        f"<li>{escape(text)} <small>[{escape(source)}]</small></li>"
        for text, source in inspection.reading
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>Inspection</title>'
        "<style>body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}"
        ".picture{overflow-x:auto}</style></head><body>"
        f"<h1>Inspection</h1><p>Base: {escape(geometry.base)} ({escape(geometry.told_by)}).</p>"
        f'<div class="picture">{draw_svg(geometry)}</div><h2>Reading</h2><ul>{items}</ul>'
        "</body></html>\n"
    )


def _distances(geometry: Geometry) -> _Grid:
    columns = [region.layers for region in geometry.by_layers]
    kinds = [region.kind for region in geometry.by_kind]
    known = {(region.layers, region.kind): region for region in geometry.regions}
    found = [d for region in geometry.regions for d in region.distance.values() if d is not None]
    peak = max(found, default=0.0) or 1.0
    short = labels(geometry.models)

    def cell(region: Region | None, model: str) -> tuple[str, float | None]:
        distance = None if region is None else region.distance[model]
        return percent(distance), None if distance is None else distance / peak

    rows = [
        (f"{short[model]} · {kind}", [cell(known.get((c, kind)), model) for c in columns])
        for model in geometry.models
        for kind in kinds
    ]
    return _Grid("Distance from the base, in % of the base's norm", columns, rows)


def _pairs(geometry: Geometry) -> Iterator[_Grid]:
    if len(geometry.models) < 2:
        return
    cosine, opposed = geometry.whole.cosine, geometry.whole.opposed
    yield _matrix(
        geometry,
        "Cosine of task vectors",
        {pair: (signed(value), value) for pair, value in cosine.items()},
    )
    kept = f"{100 * geometry.density:.0f} %"
    yield _matrix(
        geometry,
        f"Opposite signs among entries that both keep (top {kept}); chance gives 50 %",
        {pair: (percent(value), value) for pair, value in opposed.items()},
    )


def _matrix(geometry: Geometry, title: str, cells: dict[Pair, tuple[str, float | None]]) -> _Grid:
    short, models = labels(geometry.models), geometry.models
    rows = [
        (
            short[one],
            [
                cells.get(Pair(one, other)) or cells.get(Pair(other, one)) or ("", None)
                for other in models
            ],
        )
        for one in models
    ]
    return _Grid(title, [short[model] for model in models], rows)


def _draw(grid: _Grid, top: int) -> Iterator[str]:
    yield _text(0, top, grid.title, "title", "start")
    for place, name in enumerate(grid.columns):
        x = _LEFT + _CELL * place + _CELL / 2
        yield _text(x, top + _ROW, _fitted(name, 13), "soft", "middle")
    for number, (name, cells) in enumerate(grid.rows):
        y = top + 10 + _ROW * (number + 1)
        yield _text(_LEFT - 8, y + 16, _fitted(name, 28), "", "end")
        for place, (figure, strength) in enumerate(cells):
            yield from _cell(_LEFT + _CELL * place, y, figure, strength)


def _cell(x: float, y: float, figure: str, strength: float | None) -> Iterator[str]:
    kind = "none" if strength is None else "cold" if strength >= 0 else "warm"
    # At most 45 %: dark letters stay readable on it.
    opacity = 1 if strength is None else 0.05 + 0.4 * min(abs(strength), 1.0)
    yield (
        f'<rect class="cell {kind}" x="{x}" y="{y}" width="{_CELL}" height="{_ROW}" '
        f'fill-opacity="{opacity:.2f}"/>'
    )
    yield _text(x + _CELL / 2, y + 16, figure, "", "middle")


def _text(x: float, y: float, content: str, classes: str, anchor: str) -> str:
    return (
        f'<text x="{x:g}" y="{y:g}" class="{classes}" text-anchor="{anchor}">'
        f"{escape(content)}</text>"
    )


def _fitted(name: str, room: int) -> str:
    return name if len(name) <= room else name[: room - 1] + "…"
