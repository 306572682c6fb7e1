"""`run`, `submit`, `validate`, `resume`: starting searches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from evomerge.cli.exits import FAILED, INTERRUPTED
from evomerge.cli.options import (
    AddressOption,
    FormatOption,
    InlineOption,
    SearchArgument,
    SearchFile,
    ServerOption,
    SinkOption,
    StoreOption,
    use_sinks,
)
from evomerge.cli.output import Format, note, others_to_stderr, print_json, stderr
from evomerge.errors import Problems, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    from evomerge.spec import SearchSpec
    from evomerge.store import SQLStore
    from evomerge.store.types import SearchRecord

SearchIdOption = Annotated[
    str | None, typer.Option("--search-id", metavar="ID", help="Its id, instead of a random one.")
]


def run(
    file: SearchFile,
    address: AddressOption = None,
    store: StoreOption = None,
    inline: InlineOption = False,
    search_id: SearchIdOption = None,
    sink: SinkOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Run a search here, on a local Ray or on the cluster at --address."""
    from evomerge.cli.stores import store_at
    from evomerge.service import check_search, submit_search
    from evomerge.spec import load_spec

    use_sinks(sink)
    with checking():
        checked = check_search(load_spec(file), store, here=address is None)
    _say(checked.notes)
    with store_at(store, create=True) as opened:
        search = submit_search(opened, checked, search_id=search_id)
        again = resume_command(search, store, address, inline)
        announce(search, again)
        drive(opened, search, address, inline, again)
        show(opened, search.id, format)


def submit(
    file: SearchFile,
    address: AddressOption = None,
    store: StoreOption = None,
    server: ServerOption = None,
    priority: Annotated[
        int, typer.Option("--priority", min=-100, max=100, help="In the server's queue.")
    ] = 0,
    search_id: SearchIdOption = None,
    sink: SinkOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Hand a search to a server or to a Ray cluster and return; it runs on without this terminal."""
    if server is not None and address is None:
        from evomerge.cli import remote

        remote.submit(server, file, priority, format)
        return
    if address is None:
        raise UsageError(
            "nothing to hand it to",
            where="submit",
            remedy="name --server URL or --address HOST:PORT",
        )
    use_sinks(sink)
    _submit_to_cluster(file, address, store, search_id, format)


def _submit_to_cluster(
    file: Path, address: str, store: str | None, search_id: str | None, format: Format
) -> None:
    from evomerge.cli.stores import store_at
    from evomerge.dispatch.connection import connect
    from evomerge.service import check_search, submit_detached, submit_search
    from evomerge.spec import load_spec

    with checking():
        checked = check_search(load_spec(file), store, here=False)
        connect(address)
    _say(checked.notes)
    with store_at(store, create=True) as opened:
        search = submit_search(opened, checked, search_id=search_id)
        submit_detached(opened, search.id, address)
        if format is Format.JSON:
            print_json({"search": search.id, "name": search.name, "address": address})
        else:
            note(f"search {search.id} ({search.name}) runs at {address}")
            note(f"watch it with: evomerge watch {search.id}{_store_hint(store)}")


def validate(file: SearchFile, format: FormatOption = Format.TABLE) -> None:
    """Check a search file, its models, tasks and this machine; nothing is written or started."""
    from evomerge.spec import load_spec

    try:
        checked = _check(load_spec(file))
    except UsageError as error:
        if format is Format.JSON:
            print_json({"file": file, "valid": False, "problems": _problems(error)})
            raise typer.Exit(error.exit_code) from error
        raise
    if format is Format.JSON:
        print_json({"file": file, "valid": True, **checked})
    else:
        for key, value in checked.items():
            note(f"{key.replace('_', ' '):<12} {value}")
        note(f"{file} is fine")


def resume(
    search: SearchArgument,
    address: AddressOption = None,
    store: StoreOption = None,
    server: ServerOption = None,
    inline: InlineOption = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Give it to the cluster at --address and return.")
    ] = False,
    sink: SinkOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Go on with a paused, failed or killed search where it stopped."""
    if server is not None:
        from evomerge.cli import remote

        found, status = remote.steer(server, search, "resume")
        if format is Format.JSON:
            print_json({"search": found, "status": status})
        else:
            note(f"search {found} is {status} at {server}")
        return
    from evomerge.cli.stores import store_at
    from evomerge.service import check_unchanged

    use_sinks(sink)
    with store_at(store) as opened:
        record = opened.search(search)
        with checking():
            check_unchanged(record, here=address is None)
        if detach:
            _resume_detached(opened, record, address)
            return
        again = resume_command(record, store, address, inline)
        announce(record, again)
        drive(opened, record, address, inline, again)
        show(opened, record.id, format)


def _resume_detached(store: SQLStore, search: SearchRecord, address: str | None) -> None:
    from evomerge.service import submit_detached

    if address is None:
        raise UsageError(
            "--detach needs a cluster", where="--address", remedy="add --address HOST:PORT"
        )
    submit_detached(store, search.id, address)
    note(f"search {search.id} goes on at {address}; watch it with: evomerge watch {search.id}")


def announce(search: SearchRecord, again: str) -> None:
    """Say the id and how to go on, before anything can go wrong."""
    note(f"search {search.id} ({search.name}) · stop with Ctrl-C, go on with: {again}")


def resume_command(
    search: SearchRecord, store: str | None, address: str | None = None, inline: bool = False
) -> str:
    """The command that goes on with a search as it was started."""
    where = f" --address {address}" if address else ""
    return f"evomerge resume {search.id}{_store_hint(store)}{where}{' --inline' * inline}"


def _store_hint(store: str | None) -> str:
    """Repeats --store, without which another store would be opened."""
    import os

    if store is None or store == os.environ.get("EVOMERGE_STORE"):
        return ""
    return f" --store {store}"


def drive(
    store: SQLStore, search: SearchRecord, address: str | None, inline: bool, again: str
) -> None:
    """Run a search with progress; Ctrl-C and SIGTERM pause it and end with exit code 130."""
    from evomerge.cli.interrupts import Interruptible, Interrupts
    from evomerge.cli.progress import SearchProgress
    from evomerge.service import had_workers, make_dispatcher, run_search
    from evomerge.store.types import SearchStatus

    dispatcher = make_dispatcher(
        *(search.spec, store.url, address),
        inline=inline,
        versions=search.versions,
        resumed=had_workers(store, search.id),
    )
    try:
        with (
            Interrupts(again).listening() as interrupts,
            others_to_stderr(),
            SearchProgress(store, search.id) as progress,
        ):
            workers = Interruptible(dispatcher, interrupts)
            status = run_search(store, search.id, workers, progress)
    except KeyboardInterrupt:
        note(f"search {search.id} is paused; go on with: {again}")
        raise typer.Exit(INTERRUPTED) from None
    finally:
        dispatcher.close()
    if status is not SearchStatus.FINISHED:
        note(f"search {search.id} is {status}")
        raise typer.Exit(FAILED)


@contextmanager
def checking() -> Iterator[None]:
    """A sign of life while models and tasks are looked at."""
    console = stderr()
    if not console.is_terminal:
        yield
        return
    with console.status("checking models, tasks and this machine …"):
        yield


def show(store: SQLStore, search_id: str, format: Format) -> None:
    """The results table of a search that has ended; of a soup also its steps."""
    from evomerge.cli.tables import print_results
    from evomerge.results import read_results
    from evomerge.spec import SOUP

    if store.search(search_id).spec.strategy.name == SOUP:
        from evomerge.cli.soup import show_soup

        show_soup(store, search_id, format)
        return
    print_results(read_results(store, store.search(search_id)), format)


def _check(spec: SearchSpec) -> dict[str, Any]:
    from evomerge.service import check_search

    with checking():
        report = check_search(spec)
    return {
        "name": spec.name,
        "dimension": report.space.dimension,
        "budget": f"{spec.budget.candidates} candidates",
        "tasks": [f"{t.task} ({t.metric or 'acc'})" for t in report.spec.objective.tasks],
        **({"notes": list(report.notes)} if report.notes else {}),
    }


def _say(notes: Iterable[str]) -> None:
    for text in notes:
        note(text)


def _problems(error: UsageError) -> list[dict[str, str | None]]:
    several = error.problems if isinstance(error, Problems) else (error,)
    return [{"where": e.where, "problem": e.message, "remedy": e.remedy} for e in several]
