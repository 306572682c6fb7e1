"""`best`: the best recipes of a search, of a base model, or of the whole store."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomerge.cli.options import ServerOption, StoreOption
from evomerge.cli.output import BestFormat, note, print_json, print_table, stdout

if TYPE_CHECKING:
    from evomerge.store import SQLStore
    from evomerge.store.types import BestRow


class SplitName(StrEnum):
    """The splits, as `evomerge.fitness.Split` has them, without what that module loads."""

    SEARCH = "search"
    VALIDATION = "validation"
    TEST = "test"


def best(
    search: Annotated[
        str | None, typer.Option("--search", metavar="ID", help="Only of this search.")
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", metavar="MODEL", help="Only merges on this base model.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", help="Rank by this task's score, not by fitness.")
    ] = None,
    split: Annotated[
        SplitName | None,
        typer.Option("--split", help="Documents to compare on; search by default."),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="At most so many.")] = 10,
    store: StoreOption = None,
    server: ServerOption = None,
    format: Annotated[
        BestFormat, typer.Option("--format", help="yaml prints mergekit configurations.")
    ] = BestFormat.TABLE,
) -> None:
    """The best candidates, best first."""
    from evomerge.cli.stores import store_at
    from evomerge.fitness import Split

    if server is not None:
        from evomerge.cli import remote

        name = split.value if split else None
        remote.best(server, format, search=search, base=base, task=task, split=name, limit=limit)
        return
    documents = Split(split.value) if split else None
    with store_at(store) as opened:
        search_id = opened.search(search).id if search else None
        rows = opened.best(
            search_id=search_id, base_model=base, task=task, split=documents, limit=limit
        )
        climbed = documents in (None, Split.SEARCH)
        trust = (
            _trust(opened, search_id)
            if search_id and climbed and format is BestFormat.TABLE
            else ""
        )
    if format is BestFormat.JSON:
        print_json([_plain(row) for row in rows])
    elif not rows:
        note("nothing scored matches")
    elif format is BestFormat.YAML:
        stdout().print(_yaml(rows), markup=False, soft_wrap=True, end="")
    else:
        print_rows(rows)
        if trust:
            note(trust)


def _trust(store: SQLStore, search_id: str) -> str:
    """How far the search scores in the table can be trusted."""
    from evomerge.results import read_results

    optimism = read_results(store, store.search(search_id)).optimism
    return "" if optimism is None else optimism.sentence


def _name(row: BestRow) -> str:
    return row.label or f"candidate {row.number}"


def print_rows(rows: Sequence[BestRow]) -> None:
    """One line a candidate; what all of them share is said once, below."""
    places = {
        "search": [row.search_id for row in rows],
        "method": [row.recipe.merge_method for row in rows],
        "split": [row.split.value for row in rows],
    }
    shared = {name: cells[0] for name, cells in places.items() if len(set(cells)) == 1}
    tasks = list(dict.fromkeys(task for row in rows for task in row.scores))
    columns: dict[str, list[Any]] = {
        "candidate": [row.candidate_id for row in rows],
        "what": [_name(row) for row in rows],
        **{name: cells for name, cells in places.items() if name not in shared},
        "fitness": [row.fitness for row in rows],
        "±": [row.stderr for row in rows],
        **{task: [row.scores.get(task) for row in rows] for task in tasks},
    }
    cells = list(zip(*columns.values(), strict=True))
    print_table(list(columns), cells, right=["candidate", "fitness", "±", *tasks])
    note(" · ".join(f"{name} {value}" for name, value in shared.items()))


def _plain(row: BestRow) -> dict[str, Any]:
    from evomerge.recipe import to_config

    return {
        "candidate": row.candidate_id,
        "search": row.search_id,
        "search_name": row.search_name,
        "number": row.number,
        "origin": row.origin,
        "label": row.label,
        "split": row.split,
        "fitness": row.fitness,
        "stderr": row.stderr,
        "scores": dict(row.scores),
        "recipe": to_config(row.recipe),
    }


def _yaml(rows: list[BestRow]) -> str:
    from evomerge.merging.mergekit_yaml import dump_recipe

    return "---\n".join(_heading(row) + dump_recipe(row.recipe) for row in rows)


def _heading(row: BestRow) -> str:
    error = "" if row.stderr is None else f" ± {row.stderr:.4f}"
    return (
        f"# {_name(row)} of search {row.search_id} ({row.search_name}): "
        f"{row.split.value} fitness {row.fitness:.4f}{error}\n"
    )
