"""`soup`: the greedy soup of a search file's models, without a search.

It is a search whose only candidate is the soup (strategy `greedy_soup`): its rows lie in the store
as those of any other, it can be paused, resumed, queried, reported and exported, and what another
search scored already is not scored again.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomerge.cli.options import (
    AddressOption,
    FormatOption,
    InlineOption,
    SearchFile,
    StoreOption,
)
from evomerge.cli.output import Format, note, print_json, print_table, stdout
from evomerge.cli.run import SearchIdOption, announce, checking, drive, resume_command
from evomerge.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from evomerge.soup import Step
    from evomerge.spec import SearchSpec
    from evomerge.store import SQLStore

_SPACE = "linear_global"


def soup(
    file: SearchFile,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", metavar="FOLDER", help="Merge the soup into a new folder."),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option("--recipe", metavar="FILE", help="Default: evomerge-SEARCH.yml."),
    ] = None,
    address: AddressOption = None,
    store: StoreOption = None,
    inline: InlineOption = False,
    search_id: SearchIdOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Average models greedily: best first, each kept if the average gets better by it."""
    from evomerge.cli.stores import store_at
    from evomerge.service import check_search, submit_search

    _refuse_existing(out, recipe)
    with checking():
        checked = check_search(_spec(file), store, here=address is None)
    with store_at(store, create=True) as opened:
        search = submit_search(opened, checked, search_id=search_id)
        again = resume_command(search, store, address, inline)
        announce(search, again)
        drive(opened, search, address, inline, again)
        if format is Format.TABLE:
            show_soup(opened, search.id, format)  # a full disk must not cost the table
        written = _write(opened, search.id, out, recipe or Path(f"evomerge-{search.id}.yml"))
        if format is Format.JSON:
            show_soup(opened, search.id, format, written)
        for what, path in written.items():
            note(f"{what.replace('_file', '')}: {path}")


def _spec(file: Path) -> SearchSpec:
    """The search file with the soup for a strategy; space and budget have no say in it."""
    from evomerge.spec import SOUP, load_spec

    spec = load_spec(file)
    strategy = spec.strategy.model_copy(update={"name": SOUP})
    budget = spec.budget.model_copy(update={"candidates": 1, "hours": None})
    return spec.model_copy(update={"strategy": strategy, "budget": budget, "space": _SPACE})


def _refuse_existing(out: Path | None, recipe: Path | None) -> None:
    from evomerge.merging.out_folder import refuse_existing

    if out is not None:
        refuse_existing(out)
    if recipe is not None and recipe.exists():
        raise UsageError("exists already", where=str(recipe), remedy="choose another name")
    if recipe is not None and not recipe.parent.is_dir():
        raise UsageError("no such folder", where=str(recipe.parent), remedy="make it first")


def _write(store: SQLStore, search_id: str, out: Path | None, recipe: Path) -> dict[str, Path]:
    """The recipe, and the model where one is wanted; where they lie."""
    from evomerge.export.candidates import export_candidate, find_candidate
    from evomerge.merging.mergekit_yaml import dump_recipe

    winner = find_candidate(store, search_id)
    recipe.write_text(dump_recipe(winner.recipe), encoding="utf-8")
    if out is None:
        return {"recipe_file": recipe.resolve()}
    from evomerge.cli.progress import counted

    with counted(f"merging {winner.recipe_id} into {out}") as count:
        export_candidate(store, winner, out, progress=count, notify=note)
    return {"recipe_file": recipe.resolve(), "out": out.resolve()}


def show_soup(
    store: SQLStore, search_id: str, format: Format, written: dict[str, Path] | None = None
) -> None:
    """The steps, then the table of results."""
    from evomerge.cli.tables import print_results, results_json
    from evomerge.results import read_results
    from evomerge.soup import soup_steps

    search = store.search(search_id)
    steps, results = soup_steps(store, search), read_results(store, search)
    if format is Format.JSON:
        print_json({**results_json(results), "steps": steps, **(written or {})})
        return
    _print_steps(steps)
    print_results(results, format)


def _print_steps(steps: Sequence[Step]) -> None:
    rows: list[Sequence[Any]] = [
        (number, step.model, step.size, step.fitness, step.stderr, _verdict(step))
        for number, step in enumerate(steps, start=1)
    ]
    columns = ["step", "model", "averaged", "fitness", "±", ""]
    title = "Steps, best model first; search split"
    print_table(columns, rows, title=title, right=["step", "averaged", "fitness", "±"])
    stdout().print()


def _verdict(step: Step) -> str:
    if step.fitness is None:
        return "failed"
    return "kept" if step.kept else "left out: no better"
