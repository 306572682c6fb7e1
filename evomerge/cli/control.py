"""`pause`, `cancel` and `edit`: wishes that the search's controller grants, wherever it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomerge.cli.options import FormatOption, SearchArgument, ServerOption, StoreOption
from evomerge.cli.output import Format, note, print_json

if TYPE_CHECKING:
    from evomerge.store import SQLStore


def pause(
    search: SearchArgument,
    store: StoreOption = None,
    server: ServerOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Let what is under way finish and start nothing more; `resume` goes on."""
    from evomerge.service import pause_search

    found, status = _steer(search, store, server, "pause", pause_search)
    _say(found, status, f"go on with: evomerge resume {found}", format)


def cancel(
    search: SearchArgument,
    store: StoreOption = None,
    server: ServerOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Stop a search at once and for good; what was scored is kept."""
    from evomerge.service import cancel_search

    found, status = _steer(search, store, server, "cancel", cancel_search)
    _say(found, status, f"see what it found: evomerge best --search {found}", format)


def _steer(
    search: str,
    store: str | None,
    server: str | None,
    verb: str,
    here: Callable[[SQLStore, str], str],
) -> tuple[str, str]:
    """Over HTTP or in the store; the search's id and the status that now stands."""
    from evomerge.cli import remote
    from evomerge.cli.stores import store_at

    if server is not None:
        return remote.steer(server, search, verb)
    with store_at(store) as opened:
        record = opened.search(search)
        return record.id, here(opened, record.id)


def edit(
    search: SearchArgument,
    candidates: Annotated[int | None, typer.Option("--candidates", min=1)] = None,
    tokens: Annotated[int | None, typer.Option("--tokens", min=1)] = None,
    hours: Annotated[float | None, typer.Option("--hours", min=0.0)] = None,
    gpu_hours: Annotated[float | None, typer.Option("--gpu-hours", min=0.0)] = None,
    patience: Annotated[int | None, typer.Option("--patience", min=1)] = None,
    workers: Annotated[int | None, typer.Option("--workers", min=1)] = None,
    priority: Annotated[
        int | None, typer.Option("--priority", min=-100, max=100, help="Of a server's queue.")
    ] = None,
    store: StoreOption = None,
    server: ServerOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Change the budget or the number of workers of a search, also while it runs."""
    given: dict[str, Any] = {
        "candidates": candidates,
        "tokens": tokens,
        "hours": hours,
        "gpu_hours": gpu_hours,
        "patience": patience,
    }
    budget = {name: value for name, value in given.items() if value is not None}
    if server is not None:
        from evomerge.cli import remote

        wanted = budget if workers is None else {**budget, "workers": workers}
        found, shown = remote.edit(server, search, wanted, priority)
    else:
        found, shown = _edit_here(search, store, budget, workers, priority)
    if format is Format.JSON:
        print_json({"search": found, **{k: v for k, v in shown.items() if v is not None}})
    else:
        parts = [*_words(shown.get("budget", {})), *_words({**shown, "budget": None})]
        note(f"search {found} now has {', '.join(parts)}")


def _edit_here(
    search: str,
    store: str | None,
    budget: dict[str, Any],
    workers: int | None,
    priority: int | None,
) -> tuple[str, dict[str, Any]]:
    from evomerge.cli.stores import store_at
    from evomerge.service import edit_search

    with store_at(store) as opened:
        record = opened.search(search)
        shown: dict[str, Any] = {}
        if priority is not None:
            opened.set_priority(record.id, priority)
            shown["priority"] = priority
        if priority is None or budget or workers is not None:
            limits = edit_search(opened, record.id, budget, workers)
            shown |= limits.model_dump(mode="json", exclude_none=True)
    return record.id, shown


def _words(values: dict[str, Any]) -> list[str]:
    return [
        f"{name.replace('_', ' ')} {value}" for name, value in values.items() if value is not None
    ]


def _say(search_id: str, status: str, next_step: str, format: Format) -> None:
    if format is Format.JSON:
        print_json({"search": search_id, "status": status})
    else:
        note(f"search {search_id} is {status}; {next_step}")
