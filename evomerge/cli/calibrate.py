"""`calibrate`: measures what data-driven merge methods need, for a merge configuration or a search."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomerge.cli.options import AddressOption, FormatOption
from evomerge.cli.output import Format, note, print_json, print_table
from evomerge.errors import UsageError

if TYPE_CHECKING:
    from evomerge.evaluation.calibrated import Work

_COLUMNS = ("statistic", "model", "texts of", "examples", "tokens", "seconds", "MB")


def calibrate(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A merge configuration or a search file (YAML).")
    ],
    statistic: Annotated[
        list[str] | None,
        typer.Option("--statistic", metavar="NAME", help="Measure this as well; repeatable."),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="Where to compute: cpu, cuda, cuda:1, auto.")
    ] = None,
    memory: Annotated[
        str, typer.Option("--memory", metavar="BYTES", help="For sums, as 500M or 8G.")
    ] = "8G",
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, help="Texts of one length at once.")
    ] = 8,
    address: AddressOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Measure models on texts, once, for the methods that are computed from it."""
    from evomerge.calibration.collect import Options
    from evomerge.cli.merge import parse_size
    from evomerge.merging.device import choose_device

    if address is not None and device is not None:
        raise UsageError(
            "tasks on a cluster take a GPU where there is one",
            where="--device",
            remedy="leave it out with --address",
        )
    options = Options(batch_size=batch_size, memory=parse_size(memory))
    place = None if device is None else choose_device(device, "--device")
    for work in _works(file, tuple(statistic or ())):
        if address is None:
            _here(work, options, place)
        else:
            from evomerge.dispatch.calibration import calibrate_on_ray

            calibrate_on_ray(work, options, address, note)
        _show(work, format)


def _works(file: Path, more: tuple[str, ...]) -> "list[Work]":
    """What the merges, or the search, of a file need. UsageError where that is nothing."""
    from evomerge.calibration.statistic import get_statistic
    from evomerge.evaluation.calibration_works import works_of_file

    extra = tuple(get_statistic(name).name for name in more)
    works = works_of_file(file, extra)
    if not works:
        raise UsageError(
            "its methods need no statistics",
            where=str(file),
            remedy="nothing is to be done; or name some with --statistic",
        )
    return works


def _here(work: "Work", options: Any, device: str | None) -> None:
    from evomerge.cli.progress import counted
    from evomerge.evaluation.calibrated import calibrate as measure_all

    with counted(f"{len(work.models)} models on calibration texts") as count:
        measure_all(
            work,
            options=options,
            device=device,
            tell=note,
            progress=lambda what, done, total: count(done, total),
        )


def _show(work: "Work", format: Format) -> None:
    rows = _rows(work)
    if format is Format.JSON:
        print_json({"set": work.texts.name, "statistics": rows})
        return
    listed = [tuple(row.values()) for row in rows]
    right = _COLUMNS[3:]
    print_table(_COLUMNS, listed, title=f"calibration: {work.texts.name}", right=right)


def _rows(work: "Work") -> list[dict[str, Any]]:
    """Everything that the merges or the search will find."""
    from evomerge.calibration.store import StatisticStore
    from evomerge.hub import short_name

    store = StatisticStore()
    rows = []
    for one in work.requests():
        header, folder = store.header(one), store.folder(one)
        size = sum(file.stat().st_size for file in folder.glob("*")) / 1e6
        rows.append(
            {
                "statistic": one.statistic,
                "model": short_name(one.model),
                "texts_of": short_name(one.owner or one.model),
                "examples": header["examples"],
                "tokens": header["tokens"],
                "seconds": round(header["seconds"], 1),
                "megabytes": round(size, 1),
            }
        )
    return rows
