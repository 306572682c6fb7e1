"""`pause`, `cancel` and `edit`: wishes that the search's controller grants, wherever it runs."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from evomerge.cli.options import FormatOption, SearchArgument, StoreOption
from evomerge.cli.output import Format, note, print_json


def pause(
    search: SearchArgument, store: StoreOption = None, format: FormatOption = Format.TABLE
) -> None:
    """Let what is under way finish and start nothing more; `resume` goes on."""
    from evomerge.cli.stores import store_at
    from evomerge.service import pause_search

    with store_at(store) as opened:
        record = opened.search(search)
        status = pause_search(opened, record.id)
    _say(record.id, status, f"go on with: evomerge resume {record.id}", format)


def cancel(
    search: SearchArgument, store: StoreOption = None, format: FormatOption = Format.TABLE
) -> None:
    """Stop a search at once and for good; what was scored is kept."""
    from evomerge.cli.stores import store_at
    from evomerge.service import cancel_search

    with store_at(store) as opened:
        record = opened.search(search)
        status = cancel_search(opened, record.id)
    _say(record.id, status, f"see what it found: evomerge best --search {record.id}", format)


def edit(
    search: SearchArgument,
    candidates: Annotated[int | None, typer.Option("--candidates", min=1)] = None,
    tokens: Annotated[int | None, typer.Option("--tokens", min=1)] = None,
    hours: Annotated[float | None, typer.Option("--hours", min=0.0)] = None,
    gpu_hours: Annotated[float | None, typer.Option("--gpu-hours", min=0.0)] = None,
    patience: Annotated[int | None, typer.Option("--patience", min=1)] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1)] = None,
    store: StoreOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Change the budget or the number of workers of a search, also while it runs."""
    from evomerge.cli.stores import store_at
    from evomerge.service import edit_search

    given: dict[str, Any] = {
        "candidates": candidates,
        "tokens": tokens,
        "hours": hours,
        "gpu_hours": gpu_hours,
        "patience": patience,
    }
    budget = {name: value for name, value in given.items() if value is not None}
    with store_at(store) as opened:
        record = opened.search(search)
        limits = edit_search(opened, record.id, budget, workers)
    shown = limits.model_dump(mode="json", exclude_none=True)
    if format is Format.JSON:
        print_json({"search": record.id, **shown})
    else:
        parts = [*_words(shown.get("budget", {})), *_words({"workers": limits.workers})]
        note(f"search {record.id} now has {', '.join(parts)}")


def _words(values: dict[str, Any]) -> list[str]:
    return [f"{name.replace('_', ' ')} {value}" for name, value in values.items() if value]


def _say(search_id: str, status: str, next_step: str, format: Format) -> None:
    if format is Format.JSON:
        print_json({"search": search_id, "status": status})
    else:
        note(f"search {search_id} is {status}; {next_step}")
