"""Does a controller leak anything in a week? A week's worth of candidates through everything but an engine.

    python -m benchmarks.week --workers 10 --hours 168

Ten workers that need a minute for a candidate each score 10 x 60 x 168 = 100,800 in a week. Here the minute
passes on a simulated clock and the score is the fake engine's; controller, strategy, races, worker class and
store are those that run everywhere, in one process. At 200 moments the process is measured: resident memory,
open files, threads, child processes, names in /dev/shm. Prints the mean of each over every tenth of the
candidates, and the processor time of a candidate; ends with exit code 1 where the last tenth has more open
files, threads, processes or names than the second, or where memory grows by more than `--bytes` a candidate.
The first tenth is left out of the comparison: caches fill in it.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from statistics import mean

import psutil

from evomerge.controller.events import Event, Scored
from evomerge.evaluation import make_evaluator
from evomerge.service import check_search, run_search, submit_search
from evomerge.store import open_store
from evomerge.store.types import Origin
from evomerge.testing.simulation import SimulatedCluster
from evomerge.worker import Task, Worker
from tests.controller.simulated import uneven
from tests.support import fake_spec

SAMPLES = 200
_MEAN_OF_UNEVEN = 3.909  # 9 / ln 10 seconds
_MINUTE = 60.0


@dataclass(frozen=True)
class Sample:
    """What the process holds at one moment, and what it has done until then."""

    candidates: float
    memory: float
    """Resident, in MB."""
    files: float
    threads: float
    processes: float
    shared: float
    cpu: float
    """Seconds of the processor since the search began."""


class Watcher:
    """A listener that measures its own process again and again."""

    def __init__(self, candidates: int) -> None:
        self._process, self._every = psutil.Process(), max(1, candidates // SAMPLES)
        self._seen = 0
        self._began = time.process_time()
        self.samples: list[Sample] = []

    def __call__(self, event: Event) -> None:
        """The listener."""
        if isinstance(event, Scored) and event.candidate.origin is Origin.SEARCH:
            self._seen += 1
            if self._seen % self._every == 0:
                self.samples.append(self._look())
                print(shown(self.samples[-1]), file=sys.stderr, flush=True)

    def _look(self) -> Sample:
        process = self._process
        return Sample(
            self._seen,
            process.memory_info().rss / 1e6,
            process.num_fds(),
            process.num_threads(),
            len(process.children(recursive=True)),
            sum(1 for _ in Path("/dev/shm").iterdir()),
            time.process_time() - self._began,
        )


def shown(sample: Sample) -> str:
    """A line of the table."""
    return " ".join(f"{value:10.1f}" for value in astuple(sample))


def minutes(task: Task) -> float:
    """Seconds of a candidate: a minute in the mean, tenfold apart."""
    return uneven(task) * _MINUTE / _MEAN_OF_UNEVEN


def run(url: str, folder: Path, workers: int, candidates: int) -> tuple[list[Sample], float]:
    """The samples, and the simulated hours."""
    spec = fake_spec(
        folder / "models",
        objective={"tasks": [{"task": "alpha"}, {"task": "beta"}], "limit": 40},
        workers={"max": workers},
        budget={"candidates": candidates},
        strategy={"name": "bipop", "seed": 1, "asynchronous": True},
    )
    store = open_store(url)
    search = submit_search(store, check_search(spec))
    worker = Worker(open_store(url), lambda: make_evaluator(search.spec))
    cluster = SimulatedCluster(worker, workers, minutes, remember=0)
    watcher = Watcher(candidates)
    run_search(store, search.id, cluster, watcher)
    store.close()
    return watcher.samples, cluster.now / 3600


def tenths(samples: Sequence[Sample]) -> list[Sample]:
    """The mean of each tenth."""
    size = len(samples) // 10
    groups = [samples[place * size : (place + 1) * size] for place in range(10)]
    return [Sample(*map(mean, zip(*map(astuple, group), strict=True))) for group in groups]


def verdict(rows: Sequence[Sample], most_bytes: float) -> list[str]:
    """What grew between the second tenth and the last."""
    early, late = rows[1], rows[-1]
    grown = [
        f"{name}: {getattr(early, name):.1f} → {getattr(late, name):.1f}"
        for name in ("files", "threads", "processes", "shared")
        if getattr(late, name) > getattr(early, name) + 0.5
    ]
    each = 1e6 * (late.memory - early.memory) / (late.candidates - early.candidates)
    print(f"memory: {each:.0f} bytes a candidate, from the second tenth to the last")
    return [*grown, *([f"memory: {each:.0f} bytes a candidate"] if each > most_bytes else [])]


def main() -> None:
    """Run the week and judge it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--workers", type=int, default=10)
    parser.add_argument("--hours", type=float, default=168.0)
    parser.add_argument("--store", help="default: a new SQLite file that is removed in the end")
    parser.add_argument("--bytes", type=float, default=1000.0)
    options = parser.parse_args()
    candidates = int(options.workers * options.hours * 60)
    with tempfile.TemporaryDirectory() as place:
        url = options.store or str(Path(place) / "store.db")
        samples, hours = run(url, Path(place), options.workers, candidates)
    rows = tenths(samples)
    print(f"{candidates} candidates, {options.workers} workers, {hours:.1f} simulated hours")
    print(" ".join(f"{field.name:>10}" for field in fields(Sample)) + "  ms each")
    before = 0.0, 0.0
    for row in rows:
        each = 1000 * (row.cpu - before[1]) / (row.candidates - before[0])
        print(f"{shown(row)} {each:8.2f}")
        before = row.candidates, row.cpu
    grown = verdict(rows, options.bytes)
    print("it grew: " + "; ".join(grown) if grown else "nothing grew")
    raise SystemExit(1 if grown else 0)


if __name__ == "__main__":
    main()
