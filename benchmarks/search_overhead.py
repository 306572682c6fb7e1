"""What a long search costs beside its candidates: ask, tell, store and status; and what a replay costs.

    python -m benchmarks.search_overhead --candidates 100000 --replayed 10000

One search with the fake engine in one process, on SQLite, with the real controller. Prints the median of
each step over the last tenth of the search, where it is longest, and the seconds in which a controller that
starts anew on `--replayed` candidates has repeated them. Nothing here is a model: the figures are what is
added to every candidate's forward passes.
"""

import argparse
import functools
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from statistics import median
from typing import Any

from evomerge.controller.events import Event, Scored
from evomerge.controller.evolution import Evolution
from evomerge.controller.ledger import Ledger
from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.store import SQLStore, open_store
from evomerge.store.types import Origin
from tests.support import fake_spec

STATUS_EVERY = 500


class Stopwatch:
    """Seconds of every call of what it wraps, by name."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)

    def wrap(self, owner: Any, name: str, label: str) -> None:
        """Time `owner.name` from now on."""
        function = getattr(owner, name)

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds[label].append(time.perf_counter() - start)

        setattr(owner, name, timed)


class Reached(Exception):
    """Ends a run at a wanted candidate, as a kill would."""


def stop_at(
    number: int, also: Callable[[int], None] = lambda number: None
) -> Callable[[Event], None]:
    """A listener that ends the run when `number` candidates were scored in it, replayed ones left out."""
    seen = 0

    def listen(event: Event) -> None:
        nonlocal seen
        if isinstance(event, Scored) and event.candidate.origin is Origin.SEARCH:
            seen += not event.replayed
            also(seen)
            if seen > number:
                raise Reached

    return listen


def submit(store: SQLStore, folder: Path, strategy: str, budget: int) -> str:
    """A search of six genes with two tasks of a few documents."""
    spec = fake_spec(
        folder,
        objective={"tasks": [{"task": "alpha"}, {"task": "beta"}], "limit": 40},
        strategy={"name": strategy, "seed": 1, "asynchronous": True},
        budget={"candidates": budget},
    )
    return submit_search(store, check_search(spec)).id


def run(store: SQLStore, search: str, listener: Callable[[Event], None]) -> float:
    """Seconds until the search ended or the listener ended it."""
    dispatcher = make_dispatcher(store.search(search).spec, store.url, inline=True)
    start = time.perf_counter()
    with suppress(Reached):
        run_search(store, search, dispatcher, listener)
    return time.perf_counter() - start


def measure_steps(folder: Path, strategy: str, candidates: int) -> None:
    store = open_store(str(folder / "long.db"))
    watch = Stopwatch()
    watch.wrap(Evolution, "_ask", "ask (strategy, decode, rival)")
    watch.wrap(Evolution, "_tell", "tell (strategy, rivals, budget)")
    watch.wrap(Ledger, "add", "store: insert a candidate")
    watch.wrap(Ledger, "mark_told", "store: mark it told")
    watch.wrap(SQLStore, "begin_attempt", "store: begin an attempt")
    watch.wrap(SQLStore, "finish_attempt", "store: finish an attempt")
    watch.wrap(SQLStore, "progress", "status")
    search = submit(store, folder, strategy, candidates)

    def look(seen: int) -> None:
        if seen % STATUS_EVERY == 0:
            store.progress(search)

    seconds = run(store, search, stop_at(candidates, look))
    print(f"{candidates} candidates ({strategy}) in {seconds:.0f} s; medians of the last tenth:")
    for label, taken in watch.seconds.items():
        last = taken[-max(1, len(taken) // 10) :]
        print(f"  {label:34} {1000 * median(last):8.2f} ms  (first tenth {_first(taken):.2f})")


def _first(taken: list[float]) -> float:
    return 1000 * median(taken[: max(1, len(taken) // 10)])


def measure_replay(folder: Path, strategy: str, candidates: int) -> None:
    store = open_store(str(folder / "replayed.db"))
    search = submit(store, folder, strategy, 2 * candidates)
    run(store, search, stop_at(candidates))
    seconds = run(store, search, stop_at(0))
    print(f"replay of {candidates} candidates ({strategy}): {seconds:.1f} s")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--candidates", type=int, default=100_000)
    parser.add_argument("--replayed", type=int, default=10_000)
    parser.add_argument("--strategy", default="bipop")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measure_replay(Path(folder), options.strategy, options.replayed)
        measure_steps(Path(folder), options.strategy, options.candidates)


if __name__ == "__main__":
    main()
