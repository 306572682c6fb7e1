"""What a strategy itself costs: seconds of ask and tell over long searches, and of a replay.

    python benchmarks/strategy_overhead.py            # 100,000 candidates each, 10,000 replayed
    python benchmarks/strategy_overhead.py --quick    # a tenth of it

The target is a median under 50 ms for each of them, and a replay of 10,000 candidates under 10 s. The
Gaussian process is meant for hundreds of candidates and is measured at these. 64 candidates are always
outstanding, as with 64 workers.
"""

import argparse
import os
import resource
import sys
import time
from collections import deque
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from evomerge.spec import StrategySpec
from evomerge.strategy import Observation, make_strategy

DIMENSION = 24
WORKERS = 64
REPLAYED = 10_000
LONG = ("cma", "sep-cma", "lra-cma", "ipop", "bipop", "catcma", "nsga2", "random", "grid")
MIXED = (0, 0, 7, 0, 0, 2) * (DIMENSION // 6)


def walk(name: str, count: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Seconds of each ask and of each tell; CPU seconds of the first 10,000 of both."""
    cells = MIXED if name == "catcma" else ()
    objectives = 2 if name == "nsga2" else 1
    strategy = make_strategy(
        StrategySpec(name=name),
        np.full(DIMENSION, 0.5),
        cells,
        budget=count,
        objectives=objectives,
        workers=WORKERS,
    )
    generator = np.random.default_rng(0)
    running: deque[np.ndarray] = deque()
    asks, tells = np.empty(count), np.empty(count)
    begun, replayed = time.process_time(), 0.0
    for number in range(count):
        start = time.perf_counter()
        running.append(strategy.ask())
        _ = strategy.stop_reason
        asks[number] = time.perf_counter() - start
        genome = running.popleft() if len(running) == WORKERS else None
        start = time.perf_counter()
        if genome is not None:
            loss = float(((genome - 0.7) ** 2).sum() + 0.1 * generator.standard_normal())
            strategy.tell(genome, Observation((loss, -loss)[:objectives]))
        tells[number] = time.perf_counter() - start
        if number == REPLAYED - 1:
            replayed = time.process_time() - begun
    return asks, tells, replayed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a tenth of the candidates")
    parser.add_argument("--only", nargs="*", help="these strategies")
    options = parser.parse_args()
    long = 10_000 if options.quick else 100_000
    print(f"D = {DIMENSION}, {WORKERS} outstanding; milliseconds")
    print(
        "| strategy | candidates | ask median | p99 | tell median | p99 | 10,000 replayed, CPU | peak MiB |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for name, count in [*((name, long) for name in LONG), ("gp", 200), ("gp", 400)]:
        if options.only and name not in options.only:
            continue
        asks, tells, replayed = walk(name, count)
        replay = f"{replayed:.1f} s" if count >= REPLAYED else "-"
        figures = [
            np.median(asks),
            np.quantile(asks, 0.99),
            np.median(tells),
            np.quantile(tells, 0.99),
        ]
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        cells = " | ".join(f"{1000 * one:.3f}" for one in figures)
        print(f"| {name} | {count} | {cells} | {replay} | {peak:.0f} |", flush=True)


if __name__ == "__main__":
    main()
