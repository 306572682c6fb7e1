"""How busy are many workers whose evaluations differ tenfold in length, with and without a barrier?

    python -m benchmarks.worker_utilisation --workers 64 --candidates 1280 --seeds 10

The fake engine on a simulated clock: durations of 1 to 10 seconds (log-uniform, fixed by the recipe); real
controller, strategy and store. Prints for each mode the share of the time in which workers were busy, from
the first to the last start of a candidate, the simulated hours, and the best score (without the noise of the
documents) after a quarter, a half and all of the candidates: median and range over the seeds.
"""

import argparse
import tempfile
from pathlib import Path
from statistics import median

from evomerge.fitness import Split
from evomerge.store import open_store
from evomerge.store.types import EvaluationStatus, Origin
from tests.controller.simulated import simulate
from tests.support import fake_spec


def run(
    folder: Path, name: str, seed: int, options: argparse.Namespace, waits: bool
) -> list[float]:
    """Busy share, simulated seconds, and the best fitness after 1/4, 1/2 and all candidates."""
    strategy: dict[str, object] = {"name": name, "seed": seed, "asynchronous": not waits}
    if waits and options.population:
        strategy["population_size"] = options.population
    spec = fake_spec(
        folder,
        strategy=strategy,
        racing={"enabled": False},
        budget={"candidates": options.candidates},
        workers={"max": options.workers},
    )
    url = str(folder / f"{name}-{seed}-{waits}.db")
    search, cluster = simulate(url, spec, options.workers)
    store = open_store(url)
    searched = sum(stint.split is Split.SEARCH for stint in cluster.stints)
    last = searched - 1  # the mean of the distribution comes after all others
    first = last - options.candidates
    fitness = {
        e.candidate_id: e.fitness or 0.0
        for e in store.evaluations(search, Split.SEARCH)
        if e.status is EvaluationStatus.SCORED
    }
    told = sorted(
        (c for c in store.candidates(search) if c.origin is Origin.SEARCH and c.told is not None),
        key=lambda c: c.told or 0,
    )
    best = [
        max(fitness.get(c.id, 0.0) for c in told[: len(told) * quarters // 4])
        for quarters in (1, 2, 4)
    ]
    return [cluster.busy_share(first, last), cluster.stints[last - 1].start, *best]


def main() -> None:
    """Run both modes over the seeds and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--candidates", type=int, default=1280)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--strategies", nargs="+", default=["cma"])
    parser.add_argument(
        "--population", type=int, help="of the synchronous runs; the strategy's own by default"
    )
    options = parser.parse_args()
    print(f"{options.workers} workers, {options.candidates} candidates, {options.seeds} seeds")
    print(
        f"{'':24} {'busy':>16} {'hours':>14} {'best at 1/4':>22} {'at 1/2':>22} {'at the end':>22}"
    )
    for name in options.strategies:
        for waits in (True, False):
            with tempfile.TemporaryDirectory() as folder:
                rows = [run(Path(folder), name, s, options, waits) for s in range(options.seeds)]
            busy, seconds, *best = zip(*rows, strict=True)
            hours = [one / 3600 for one in seconds]
            cells = [f"{median(busy):.3f} (min {min(busy):.3f})", f"{median(hours):.2f}"]
            cells += [f"{median(b):.4f} [{min(b):.4f}, {max(b):.4f}]" for b in best]
            label = f"{name}, {'generations' if waits else 'asynchronous'}"
            print(
                f"{label:24} {cells[0]:>16} {cells[1]:>14} "
                + " ".join(f"{c:>22}" for c in cells[2:])
            )


if __name__ == "__main__":
    main()
