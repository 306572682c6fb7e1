"""`demo`: the whole way on a small zoo, from training the models to the report of the winner."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from evomerge.cli.options import FormatOption, InlineOption
from evomerge.cli.output import Format, note, print_json, stdout
from evomerge.cli.run import announce, checking, drive, resume_command

if TYPE_CHECKING:
    from evomerge.results import Results
    from evomerge.spec import SearchSpec
    from evomerge.store import SQLStore


@dataclass(frozen=True)
class Outcome:
    """What the demo leaves behind."""

    results: Results
    recipe_yaml: str
    checkpoint: Path
    report: Path
    seconds: float


def demo(
    seed: Annotated[int, typer.Option("--seed", min=0, help="Seed of the search.")] = 0,
    out: Annotated[
        Path, typer.Option("--out", metavar="FOLDER", help="Where store and results go.")
    ] = Path("evomerge-demo"),
    candidates: Annotated[
        int | None,
        typer.Option("--candidates", min=1, help="Budget; the search file's by default."),
    ] = None,
    inline: InlineOption = False,
    format: FormatOption = Format.TABLE,
) -> None:
    """Train a small zoo, search it, and show the best recipe beside every trivial merge."""
    from evomerge.cli.stores import store_at
    from evomerge.service import check_search, submit_search

    spec = _spec(_build_zoo(), seed, candidates)
    out.mkdir(parents=True, exist_ok=True)
    store = str(out / "evomerge.db")
    with checking():
        checked = check_search(spec, store)
    with store_at(store, create=True) as opened:
        search = submit_search(opened, checked)
        again = resume_command(search, store, inline=inline)
        announce(search, again)
        start = time.monotonic()
        drive(opened, search, None, inline, again)
        outcome = _finish(opened, search.id, out / search.id, time.monotonic() - start)
    _show(outcome, format)


def _build_zoo() -> Path:
    """The zoo's search file; trained now unless it is there."""
    from evomerge.zoo import build_zoo

    with shares("preparing the zoo") as progress:
        return build_zoo(progress=progress).search_file


@contextmanager
def shares(title: str) -> Iterator[Callable[[str, float], None]]:
    """A bar for work that tells what it does and which share of it is done."""
    from evomerge.cli.progress import counted

    said: set[str] = set()
    with counted(title) as count:

        def tell(what: str, share: float) -> None:
            if what not in said:
                said.add(what)
                note(what)
            count(round(share * 1000), 1000)

        yield tell


def _spec(file: Path, seed: int, candidates: int | None) -> SearchSpec:
    from evomerge.spec import load_spec

    spec = load_spec(file)
    strategy = spec.strategy.model_copy(update={"seed": seed})
    limit = spec.budget.candidates if candidates is None else candidates
    budget = spec.budget.model_copy(update={"candidates": limit})
    return spec.model_copy(update={"strategy": strategy, "budget": budget})


def _finish(store: SQLStore, search_id: str, folder: Path, seconds: float) -> Outcome:
    from evomerge.cli.progress import counted
    from evomerge.export.candidates import export_candidate, find_candidate
    from evomerge.merging.mergekit_yaml import dump_recipe
    from evomerge.report import write_report
    from evomerge.results import read_results

    winner = find_candidate(store, search_id)
    folder.mkdir(parents=True, exist_ok=True)
    with counted("exporting the winner") as count:
        checkpoint = export_candidate(store, winner, folder / "model", progress=count)
    report = write_report(store, search_id, folder / "report.html")
    results = read_results(store, store.search(search_id))
    return Outcome(
        results, dump_recipe(winner.recipe), checkpoint.resolve(), report.resolve(), seconds
    )


def _show(outcome: Outcome, format: Format) -> None:
    from evomerge.cli.tables import print_results, results_json

    if format is Format.JSON:
        files = {"checkpoint": outcome.checkpoint, "report": outcome.report}
        print_json(
            {
                **results_json(outcome.results),
                "recipe_yaml": outcome.recipe_yaml,
                **files,
                "search_seconds": outcome.seconds,
            }
        )
        return
    print_results(outcome.results, format)
    console = stdout()
    console.print("\nThe recipe, as mergekit YAML:\n", style="bold")
    console.print(outcome.recipe_yaml, markup=False, soft_wrap=True)
    console.print(f"checkpoint  {outcome.checkpoint}", markup=False, soft_wrap=True)
    console.print(f"report      {outcome.report}", markup=False, soft_wrap=True)
