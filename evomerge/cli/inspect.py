"""`inspect`: what models are, how far from their base, and how much they conflict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evomerge.cli.options import FormatOption
from evomerge.cli.output import Format, note, plain, print_json, print_table, stdout
from evomerge.errors import UsageError

if TYPE_CHECKING:
    from evomerge.inspection import Geometry, Inspection, ModelFacts, Region

ModelArguments = Annotated[
    list[str], typer.Argument(metavar="MODELS…", help="Folders, hub ids, or model+adapter.")
]


def inspect(
    models: ModelArguments,
    base: Annotated[
        str | None, typer.Option("--base", metavar="MODEL", help="What they were fine-tuned from.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option("--plot", metavar="FILE", help="Draw it: FILE.svg or FILE.html.")
    ] = None,
    layer_groups: Annotated[
        int, typer.Option("--layer-groups", min=1, help="Runs of layers to divide figures by.")
    ] = 4,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, metavar="N", help="Read so many layers only.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Show what models are, how far each is from the base, and how much their changes conflict."""
    if plot is not None and plot.suffix not in {".svg", ".html"}:
        raise UsageError("draws .svg or .html", where="--plot", remedy="choose such a name")
    from evomerge.cli.progress import counted
    from evomerge.inspection import inspect_models

    with counted("reading weights") as count:
        found = inspect_models(
            models, base, layer_groups=layer_groups, sample=sample, progress=count
        )
    if plot is not None:
        _draw(found, plot)
    if as_json or format is Format.JSON:
        print_json(as_plain(found))
        return
    show(found)


def show(found: Inspection) -> None:
    """The inspection for people."""
    _facts(found.models)
    if found.geometry is None:
        stdout().print(f"\nNo weights were compared: {found.no_geometry}", markup=False)
    else:
        _geometry(found.geometry)
    if found.reading:
        stdout().print("\nReading", style="bold")
    for text, source in found.reading:
        stdout().print(f"- {text} [{source}]", markup=False, soft_wrap=True)


def as_plain(found: Inspection) -> dict[str, object]:
    """The inspection as JSON has it: pairs become `one | other`."""
    from evomerge.inspection.writing import to_json

    converted: dict[str, object] = plain(to_json(found))
    return converted


def _draw(found: Inspection, file: Path) -> None:
    from evomerge.inspection.plot import draw_page, draw_svg

    if found.geometry is None:
        raise UsageError(
            f"there is nothing to draw: {found.no_geometry}",
            where="--plot",
            remedy="leave it out, or name the base with --base",
        )
    page = file.suffix == ".html"
    text = draw_page(found, found.geometry) if page else draw_svg(found.geometry)
    file.write_text(text, encoding="utf-8")
    note(f"drawn in {file}")


def _facts(models: Sequence[ModelFacts]) -> None:
    from evomerge.inspection.reading import labels

    short = labels([model.name for model in models])
    columns = ("model", "architecture", "parameters", "layers", "width", "dtype", "tokens")
    rows = [
        (
            short[m.name],
            m.architecture,
            _amount(m.parameters),
            m.layers,
            m.hidden_size,
            "+".join(m.dtypes),
            m.vocabulary,
        )
        for m in models
    ]
    print_table(columns, rows, right=("parameters", "layers", "width", "tokens"))
    notes = [(short[m.name], m.tokenizer, _notes(m)) for m in models]
    print_table(("model", "tokenizer", "is"), notes)


def _amount(count: int) -> str:
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return str(count)


def _notes(model: ModelFacts) -> str:
    adapter = model.adapter
    notes = [
        "tied embeddings" if model.tied_embeddings else "",
        f"{model.experts} experts a layer" if model.experts else "",
        f"LoRA of rank {adapter.rank} on {adapter.tensors} tensors" if adapter else "",
        f"no fit: {model.misfits[0]}" if model.misfits else "",
    ]
    return ", ".join(text for text in notes if text)


def _geometry(found: Geometry) -> None:
    from evomerge.inspection.reading import labels

    short = labels(found.models)
    stdout().print(f"\nBase: {found.base} ({found.told_by})", markup=False, soft_wrap=True)
    _distances(found, short)
    _pairs(found, short)
    if found.layers_read is not None:
        note(f"read layers {', '.join(map(str, found.layers_read))} only")
    if found.left_out:
        note(
            f"left out: {'; '.join(f'{n} ({why})' for n, why in list(found.left_out.items())[:3])}"
        )


def _distances(found: Geometry, short: Mapping[str, str]) -> None:
    from evomerge.inspection.reading import percent

    columns = [(r.kind, r) for r in found.by_kind] + [(r.layers, r) for r in found.by_layers]
    names = ["all", *(name for name, _ in columns)]
    regions: list[Region] = [found.whole, *(region for _, region in columns)]
    rows = [(short[m], *(percent(r.distance[m]) for r in regions)) for m in found.models]
    print_table(["distance, % of the base", *names], rows, right=names)


def _pairs(found: Geometry, short: Mapping[str, str]) -> None:
    from evomerge.inspection.reading import percent, signed

    kept = f"{100 * found.density:.0f} %"
    pairs = [
        (
            f"{short[p.one]} · {short[p.other]}",
            signed(c),
            percent(found.whole.opposed[p]),
            percent(found.whole.shared[p]),
        )
        for p, c in found.whole.cosine.items()
    ]
    headings = ("cosine", f"opposite signs in top {kept}", "overlap of these")
    if pairs:
        print_table(["task vectors of", *headings], pairs, right=headings)
