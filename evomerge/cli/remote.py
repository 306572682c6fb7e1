"""The commands that take `--server`, spoken over HTTP: what they print is what they print here."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import typer

from evomerge.cli.exits import FAILED
from evomerge.cli.output import (
    BestFormat,
    Format,
    QueryFormat,
    note,
    plain,
    print_json,
    print_rows,
    stdout,
)
from evomerge.errors import UsageError

if TYPE_CHECKING:
    from evomerge.client import Client
    from evomerge.wire import BestItem, SearchState

_PAGE = 500


@contextmanager
def server_at(url: str) -> Iterator[Client]:
    """A client of the server at `url`; its token is in EVOMERGE_TOKEN."""
    from evomerge.client import Client

    with Client(url) as client:
        yield client


def submit(url: str, file: Path, priority: int, format: Format) -> None:
    """Have the server check and queue a search."""
    with server_at(url) as client:
        state = client.submit(file, priority=priority)
    if format is Format.JSON:
        print_json({"search": state.search, "name": state.name, "server": url})
        return
    note(f"search {state.search} ({state.name}) is {state.status} at {url}")
    note(f"watch it with: evomerge watch {state.search} --server {url}")


def status(url: str, search: str) -> dict[str, Any]:
    """What `status` shows."""
    with server_at(url) as client:
        content: dict[str, Any] = plain(client.search(search))
    queue = content.pop("queue")
    return {**content, **({"queue": queue} if queue else {})}


def searches(url: str) -> list[dict[str, Any]]:
    """What `list` shows: all of them, newest first."""
    found: list[dict[str, Any]] = []
    with server_at(url) as client:
        while True:
            page = client.searches(limit=_PAGE, offset=len(found))
            found += [_line(item.model_dump()) for item in page.items]
            if not page.items or len(found) >= page.total:
                return found


def _line(item: dict[str, Any]) -> dict[str, Any]:
    del item["message"]
    return item


def watch(url: str, search: str, format: Format) -> None:
    """Follow a search until it stops; a line whenever something ended."""
    last = ""
    with server_at(url) as client:
        for state in client.watch(search):
            line = _progress(state)
            if line != last:
                note(line)
                last = line
        note(
            f"search {state.search} is {state.status}"
            + (f": {state.message}" if state.message else "")
        )
        if state.status == "finished":
            _show(client.report(search), format)
    if state.status == "failed":
        raise typer.Exit(FAILED)


def _progress(state: SearchState) -> str:
    done = ", ".join(f"{count} {phase}" for phase, count in state.done.items())
    best = "" if state.best_fitness is None else f" · best {state.best_fitness:.4f}"
    return f"{state.status}: {done or 'nothing yet'}{best}"


def _show(report: Mapping[str, Any], format: Format) -> None:
    if format is Format.JSON:
        print_json(report["results"])
    else:
        stdout().print(report["sentence"], markup=False, soft_wrap=True)


def steer(url: str, search: str, verb: str) -> tuple[str, str]:
    """`pause`, `resume` or `cancel`; id and status that now stand."""
    with server_at(url) as client:
        verbs = {"pause": client.pause, "resume": client.resume, "cancel": client.cancel}
        state = verbs[verb](search)
    return state.search, state.status


def edit(
    url: str, search: str, limits: Mapping[str, Any], priority: int | None
) -> tuple[str, dict[str, Any]]:
    """Change limits and priority; the search's id, and the limits that now hold."""
    with server_at(url) as client:
        if priority is not None:
            state = client.prioritise(search, priority)
            if not limits:
                return state.search, {"priority": priority}
        changed = client.edit(search, **limits)
    shown = changed.model_dump(exclude_none=True)
    found = {"budget": shown["budget"], "workers": changed.workers}
    return changed.search, {**found, **({} if priority is None else {"priority": priority})}


def best(url: str, format: BestFormat, **given: Any) -> None:
    """The best candidates."""
    from evomerge.cli.best import print_rows

    with server_at(url) as client:
        items = client.best(**given)
    if format is BestFormat.JSON:
        print_json([item.model_dump(exclude={"yaml"}) for item in items])
    elif not items:
        note("nothing scored matches")
    elif format is BestFormat.YAML:
        stdout().print("---\n".join(item.yaml for item in items), markup=False, end="")
    else:
        print_rows([_row(item) for item in items])


def _row(item: BestItem) -> Any:
    """As the store's own rows read."""
    values = item.model_dump()
    method = SimpleNamespace(merge_method=item.recipe["merge_method"])
    named = {"candidate_id": item.candidate, "search_id": item.search, "recipe": method}
    return SimpleNamespace(**{**values, **named, "split": SimpleNamespace(value=item.split)})


def query(url: str, name: str | None, parameters: Mapping[str, Any], format: QueryFormat) -> None:
    """Ask by name, or list what may be asked."""
    with server_at(url) as client:
        if name is None:
            found = client.queries()
            rows: list[list[Any]] = [[q.name, " ".join(q.parameters), q.summary] for q in found]
            columns = ["query", "parameters", "what it answers"]
        else:
            given = client.query(name, parameters)
            columns, rows = given.columns, given.rows
    print_rows(columns, rows, format)


def report(url: str, search: str, kind: str, out: Path | None) -> tuple[str, Path]:
    """Fetch a report into a file; the search's id and the file."""
    import json

    if kind == "png":
        raise UsageError(
            "a server gives no PNG", where="--as", remedy="take html or json, or use --store"
        )
    with server_at(url) as client:
        search_id = client.search(search).search
        file = out or Path(f"evomerge-{search_id}.{kind}")
        html = kind == "html"
        text = (
            client.report_html(search_id)
            if html
            else json.dumps(client.report(search_id), indent=2)
        )
    if file.exists() and "evomerge" not in file.read_text("utf-8", "replace")[:2000]:
        raise UsageError(
            "exists already and is no report", where=str(file), remedy="choose another file"
        )
    file.write_text(text if html else text + "\n", encoding="utf-8")
    return search_id, file


def export(url: str, candidate: str, folder: str, format: Format) -> None:
    """Have the server merge a candidate into a folder of its own, and wait for it."""
    with server_at(url) as client:
        asked = client.export(candidate, folder)
        note(f"the server merges candidate {asked.candidate} into {asked.path} …")
        time.sleep(0.5)
        found = client.exported(asked.id, wait=True)
    if found.status == "failed":
        note(f"it failed: {found.error}")
        raise typer.Exit(FAILED)
    if format is Format.JSON:
        print_json({"candidate": found.candidate, "search": found.search, "out": found.path})
    else:
        note(f"{found.path} on the server holds the merged model")
