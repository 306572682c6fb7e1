"""Progress of a search on stderr: live bars in a terminal, plain lines anywhere else."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn

from evomerge.cli.meter import Meter
from evomerge.cli.output import stderr
from evomerge.controller.events import Event, Note, PhaseStarted
from evomerge.store.api import Store
from evomerge.store.parts import searched
from evomerge.store.types import Origin

_LINE_SECONDS = 10.0


class SearchProgress:
    """A context and a listener. Works without a terminal; NO_COLOR is heard by rich.

    Args:
        store, search_id: where the best baseline is read when the search proper begins (baselines
            are graded together, after they were announced).
    """

    def __init__(self, store: Store, search_id: str, console: Console | None = None) -> None:
        self.meter = Meter()
        self._store, self._search_id = store, search_id
        self._console = console or stderr()
        self._bars = _Bars(self._console) if self._console.is_terminal else None
        self._line_due = 0.0

    def __enter__(self) -> "SearchProgress":
        if self._bars:
            self._bars.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bars:
            self._bars.stop()
        elif self.meter.total:
            self._console.print(self.meter.line, markup=False)

    def __call__(self, event: Event) -> None:
        """The listener."""
        if isinstance(event, PhaseStarted):
            self._end_phase()
            self.meter.feed(event)
            self._begin_phase(event)
        elif isinstance(event, Note):
            self._console.print(event.text, style="dim", markup=False)
        else:
            self.meter.feed(event)
            self._refresh()

    def _begin_phase(self, event: PhaseStarted) -> None:
        if event.name == "search":
            self._read_baselines()
        if self._bars:
            self._bars.add(self.meter)
        self._line_due = time.monotonic() + _LINE_SECONDS

    def _end_phase(self) -> None:
        if self.meter.total and not self._bars:
            self._console.print(self.meter.line, markup=False)

    def _refresh(self) -> None:
        if self._bars:
            self._bars.update(self.meter)
        elif time.monotonic() > self._line_due:
            self._console.print(self.meter.line, markup=False)
            self._line_due = time.monotonic() + _LINE_SECONDS

    def _read_baselines(self) -> None:
        for candidate, evaluation in searched(self._store, self._search_id):
            if candidate.origin is not Origin.BASELINE:
                return
            self.meter.consider(candidate, evaluation)


class _Bars:
    """One live bar a phase; the ones above stay."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("{task.description:<10}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[best]}", style="green"),
            TextColumn("{task.fields[pace]}", style="dim"),
            console=console,
        )
        self._task: TaskID | None = None

    def start(self) -> None:
        self._progress.start()

    def stop(self) -> None:
        self._progress.stop()

    def add(self, meter: Meter) -> None:
        self._task = self._progress.add_task(meter.phase, total=meter.total, best="", pace="")
        self.update(meter)

    def update(self, meter: Meter) -> None:
        if self._task is not None:
            self._progress.update(
                self._task,
                completed=meter.done,
                total=max(meter.total, meter.done),
                best=escape(meter.best_text),
                pace=meter.pace_text,
            )


@contextmanager
def counted(title: str) -> Iterator[Callable[[int, int], None]]:
    """A bar for work of a known size; yields a function that takes done and total."""
    console = stderr()
    if not console.is_terminal:
        console.print(f"{title} …", markup=False)
        yield lambda done, total: None
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:3.0f} %"),
    )
    with Progress(*columns, console=console) as progress:
        task = progress.add_task(escape(title), total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)
