"""`pause` and `cancel`: wishes that the search's controller grants, wherever it runs."""

from __future__ import annotations

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


def _say(search_id: str, status: str, next_step: str, format: Format) -> None:
    if format is Format.JSON:
        print_json({"search": search_id, "status": status})
    else:
        note(f"search {search_id} is {status}; {next_step}")
