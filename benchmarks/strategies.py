"""Our strategies against the libraries `cma` and `cmaes` used directly, at equal evaluations.

    python benchmarks/strategies.py            # the first table: about four minutes on one core
    python benchmarks/strategies.py --small    # the second table: about five minutes
    python benchmarks/strategies.py --late     # the third table: about two minutes
    python benchmarks/strategies.py --full     # any of them with 15 seeds instead of 5

First table: sphere, Rosenbrock, Rastrigin and mixed-integer functions with and without noise in 6, 24 and
96 dimensions. Each of our evolution strategies runs one by one through ask and tell, and the library that
it stands on runs by generations as its own documentation says. Both have the same start, step size,
population and number of evaluations. What counts is the function without noise: of the best genome
evaluated, or with noise of the one that is recommended in the end. `worse` stands where ours is higher at
the 5 % level (one-sided Wilcoxon rank-sum test over seeds).

Second table: rotated quadratics with noise and a good start, as merge weights have, with few evaluations:
the Gaussian process against `cma` used directly, and how many evaluations it takes to what `cma` reaches
with 200.

Third table: the same quadratics and 64 workers whose evaluations take times that differ by a factor of
ten. The best value among so many evaluations: with one worker, with 64 that wait for a generation of 64,
and without waiting, where late genomes stay where they were (0), follow the mean half the way (0.5, what
the strategies do) or all of it (1).
"""

import argparse
import heapq
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from numpy.typing import NDArray
from scipy.stats import mannwhitneyu

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import cma
import cmaes

from evomerge.spec import StrategySpec
from evomerge.strategy import Observation, Strategy, generational, make_strategy

Genome = NDArray[np.float64]
Function = Callable[[Genome], float]
SIGMA0 = 0.25
EVALUATIONS = {6: 600, 24: 1000, 96: 1200}
SMALL_MARKS = (20, 30, 40, 60)


@dataclass(frozen=True)
class Case:
    """A function in the unit box. cells: how many values each gene has, 0 for a continuum."""

    name: str
    function: Function
    dimension: int
    noise: float
    cells: tuple[int, ...]

    @property
    def start(self) -> Genome:
        return np.full(self.dimension, 0.5)


@dataclass
class Run:
    """One run of anything: what it evaluated, and what it recommends."""

    case: Case
    seed: int
    best: float = np.inf
    recommended: float = np.inf

    def __post_init__(self) -> None:
        self._generator = np.random.default_rng([self.seed, 0xBE])

    def loss(self, genome: Genome) -> float:
        value = self.case.function(genome)
        self.best = min(self.best, value)
        return value + self.case.noise * float(self._generator.standard_normal())

    @property
    def result(self) -> float:
        return self.recommended if self.case.noise else self.best


def scaled(genome: Genome, reach: float) -> Genome:
    """The box [-reach, reach]^D, moved so that no optimum lies in its middle."""
    return reach * (2 * genome - 1.3)


def sphere(genome: Genome) -> float:
    return float((scaled(genome, 1.0) ** 2).sum())


def rosenbrock(genome: Genome) -> float:
    x = scaled(genome, 1.5) + 1
    return float((100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2).sum()) / 100


def rastrigin(genome: Genome) -> float:
    x = scaled(genome, 3.0)
    return float((x**2 - 10 * np.cos(2 * np.pi * x) + 10).sum())


def ellipsoid(genome: Genome) -> float:
    """A sphere that is a hundred times steeper along its last gene than along its first."""
    weights = np.logspace(0, 2, len(genome))
    return float((weights * scaled(genome, 1.0) ** 2).sum())


def cases() -> Iterator[Case]:
    for dimension in EVALUATIONS:
        # Of mixed spaces every third gene is whole numbers, every sixth a switch.
        mixed = tuple((0, 0, 7, 0, 0, 2)[gene % 6] for gene in range(dimension))
        smooth = (0,) * dimension
        for noise in (0.0, 0.1):
            for function in (sphere, rosenbrock, rastrigin):
                yield Case(function.__name__, function, dimension, noise, smooth)
            for function in (sphere, ellipsoid):
                yield Case(f"mixed {function.__name__}", function, dimension, noise, mixed)


def ours(name: str, run: Run, evaluations: int) -> None:
    case = run.case
    spec = StrategySpec(name=name, seed=run.seed, sigma0=SIGMA0)
    strategy = make_strategy(spec, case.start, case.cells, budget=evaluations)
    for _ in range(evaluations):
        genome = strategy.ask()
        strategy.tell(genome, Observation((run.loss(genome),)))
    recommended = strategy.recommend()
    assert recommended is not None
    run.recommended = case.function(recommended)


def direct_cma(run: Run, evaluations: int, *, diagonal: bool = False, restart: str = "") -> None:
    options = {"bounds": [0, 1], "seed": run.seed + 1, "verbose": -9, "CMA_diagonal": diagonal}
    if restart:
        options |= {"maxfevals": evaluations}
        starts = [*np.random.default_rng([run.seed, 0xBF]).random((50, len(run.case.start)))]
        starts.append(run.case.start)
        found, _ = cma.fmin2(
            run.loss,
            starts.pop,  # the case's own first
            SIGMA0,
            options,
            restarts=9,
            bipop=restart == "bipop",
        )
        run.recommended = run.case.function(found)
        return
    es = cma.CMAEvolutionStrategy(run.case.start, SIGMA0, options)
    while es.countevals < evaluations:
        genomes = es.ask()
        es.tell(genomes, [run.loss(genome) for genome in genomes])
    run.recommended = run.case.function(es.result.xfavorite)


def direct_lra(run: Run, evaluations: int) -> None:
    bounds = np.tile([0.0, 1.0], (run.case.dimension, 1))
    es = cmaes.CMA(run.case.start, SIGMA0, bounds=bounds, seed=run.seed, lr_adapt=True)
    for _ in range(evaluations // es.population_size):
        genomes = [es.ask() for _ in range(es.population_size)]
        es.tell([(genome, run.loss(genome)) for genome in genomes])
    run.recommended = run.case.function(es.mean)


def direct_catcma(run: Run, evaluations: int) -> None:
    """Whole numbers as CatCMA's integers, switches as its categories, as its documentation advises."""
    cells = np.array(run.case.cells)
    x, z, c = (np.flatnonzero(kind) for kind in (cells == 0, cells > 2, cells == 2))
    es = cmaes.CatCMAwM(
        x_space=[[0.0, 1.0]] * len(x),
        z_space=[(np.arange(count) + 0.5) / count for count in cells[z]],
        c_space=[2] * len(c),
        mean=np.full(len(x) + len(z), 0.5),
        sigma=SIGMA0,
        cov=np.eye(len(x) + len(z)),
        seed=run.seed,
    )

    def genome_of(x_values: Genome, z_values: Genome, names: Genome) -> Genome:
        genome = np.empty(len(cells))
        genome[x], genome[z], genome[c] = x_values, z_values, (names.argmax(1) + 0.5) / 2
        return genome

    for _ in range(evaluations // es.population_size):
        asked = [es.ask() for _ in range(es.population_size)]
        es.tell([(one, run.loss(genome_of(one.x, one.z, one.c))) for one in asked])
    mean = np.clip(es._mean, 0, 1)
    whole = es._discretization(mean[len(x) :])
    run.recommended = run.case.function(genome_of(mean[: len(x)], whole, es._q))


def pairs(case: Case) -> dict[str, Callable[[Run, int], None]]:
    """Which of our strategies meet which library on a case."""
    if any(case.cells):
        return {"catcma": direct_catcma}
    found: dict[str, Callable[[Run, int], None]] = {"cma": direct_cma}
    if case.dimension == 96:
        found["sep-cma"] = lambda run, count: direct_cma(run, count, diagonal=True)
    if case.noise:
        found["lra-cma"] = direct_lra
    if case.name == "rastrigin" and not case.noise and case.dimension == 6:
        found["ipop"] = lambda run, count: direct_cma(run, count, restart="ipop")
        found["bipop"] = lambda run, count: direct_cma(run, count, restart="bipop")
    return found


def compare(seeds: int) -> int:
    """Print the first table; how many lines say `worse`."""
    print("| function | D | noise | evaluations | strategy | ours | library | |")
    print("|---|---|---|---|---|---|---|---|")
    worse = 0
    for case in cases():
        for name, direct in pairs(case).items():
            count = EVALUATIONS[case.dimension] * (3 if name in ("ipop", "bipop") else 1)
            our_runs = [Run(case, seed) for seed in range(seeds)]
            their_runs = [Run(case, seed) for seed in range(seeds)]
            for our_run, their_run in zip(our_runs, their_runs, strict=True):
                ours(name, our_run, count)
                direct(their_run, count)
            left, right = ([run.result for run in runs] for runs in (our_runs, their_runs))
            verdict = _verdict(left, right)
            worse += verdict == "worse"
            print(
                f"| {case.name} | {case.dimension} | {case.noise:g} | {count} | {name} "
                f"| {np.median(left):.2g} | {np.median(right):.2g} | {verdict} |",
                flush=True,
            )
    return worse


def _verdict(left: list[float], right: list[float]) -> str:
    if mannwhitneyu(left, right, alternative="greater").pvalue < 0.05:
        return "worse"
    better = mannwhitneyu(left, right, alternative="less").pvalue < 0.05
    return "better" if better else "no worse"


def bowl(dimension: int, seed: int) -> Function:
    """A rotated quadratic, 1 in the middle of the box and 0 at its optimum, about 0.2 away a gene."""
    generator = np.random.default_rng([seed, 0xB0])
    rotation = np.linalg.qr(generator.standard_normal((dimension, dimension)))[0]
    curvature = rotation @ np.diag(3.0 ** generator.uniform(-1, 1, dimension)) @ rotation.T
    optimum = 0.5 + 0.2 * generator.choice([-1, 1], dimension) * generator.uniform(
        0.5, 1.5, dimension
    )
    unit = (0.5 - optimum) @ curvature @ (0.5 - optimum)
    return lambda genome: float((genome - optimum) @ curvature @ (genome - optimum) / unit)


def recommended_at_marks(name: str, case: Case, seed: int, evaluations: int) -> list[float]:
    """The true value of what one of our strategies recommends after so many evaluations."""
    spec = StrategySpec(name=name, seed=seed, sigma0=SIGMA0)
    strategy = make_strategy(spec, case.start, budget=evaluations)
    run, found = Run(case, seed), []
    for number in range(1, evaluations + 1):
        genome = strategy.ask()
        strategy.tell(genome, Observation((run.loss(genome),)))
        if number in SMALL_MARKS:
            recommended = strategy.recommend()
            found.append(case.function(case.start if recommended is None else recommended))
    return found


def small(seeds: int) -> int:
    """Print the second table; 0, as nothing in it is compared at equal evaluations."""
    marks = SMALL_MARKS
    heads = " | ".join(f"gp {mark}" for mark in marks)
    print(f"| D | noise | cma 200 | {heads} | evaluations to cma's 200 |")
    print("|---|---|---|" + "---|" * (len(marks) + 1))
    for dimension in (4, 8, 16, 24, 32):
        for noise in (0.02, 0.05):
            theirs, table = [], []
            for seed in range(seeds):
                case = Case("bowl", bowl(dimension, seed), dimension, noise, (0,) * dimension)
                run = Run(case, seed)
                direct_cma(run, 200)
                theirs.append(run.recommended)
                table.append(recommended_at_marks("gp", case, seed, marks[-1]))
            medians = np.median(table, axis=0)
            target = float(np.median(theirs))
            reached = [mark for mark, one in zip(marks, medians, strict=True) if one <= target]
            figures = " | ".join(f"{one:.3f}" for one in medians)
            first = f"<= {reached[0]}" if reached else f"> {marks[-1]}"
            print(f"| {dimension} | {noise:g} | {target:.3f} | {figures} | {first} |", flush=True)
    return 0


def parallel(
    strategy: Strategy, run: Run, evaluations: int, workers: int, *, wait: bool
) -> list[float]:
    """The best value after each evaluation, on a simulated clock."""
    generator = np.random.default_rng([run.seed, 0xC1])
    running: list[tuple[float, int, Genome]] = []
    now, asked, best = 0.0, 0, []
    while len(best) < evaluations:
        while len(running) < workers and not (wait and asked % workers == 0 and running):
            seconds = float(np.exp(generator.uniform(0, np.log(10))))
            heapq.heappush(running, (now + seconds, asked, strategy.ask()))
            asked += 1
        finished = [heapq.heappop(running) for _ in range(len(running) if wait else 1)]
        now = finished[-1][0]
        for _, _, genome in finished:
            strategy.tell(genome, Observation((run.loss(genome),)))
            best.append(run.best)
    return best


def late(seeds: int) -> int:
    """Print the third table; 0, as nothing in it is a library's."""
    marks = (200, 500, 1000, 2000)
    print("| D | strategy | workers | late genomes follow | " + " | ".join(map(str, marks)) + " |")
    print("|---|---|---|---|" + "---|" * len(marks))
    settings = [
        (1, False, 0.5),
        (64, True, 0.5),
        *((64, False, share) for share in (0.0, 0.5, 1.0)),
    ]
    for dimension in (6, 24):
        for name in ("cma", "sep-cma", "lra-cma"):
            for workers, wait, share in settings:
                generational._FOLLOW = share
                rows = []
                for seed in range(seeds):
                    case = Case("bowl", bowl(dimension, seed), dimension, 0.02, (0,) * dimension)
                    spec = StrategySpec(
                        name=name, seed=seed, population_size=64 if wait else "auto"
                    )
                    strategy = make_strategy(spec, case.start, workers=workers)
                    best = parallel(strategy, Run(case, seed), marks[-1], workers, wait=wait)
                    rows.append([best[mark - 1] for mark in marks])
                figures = " | ".join(f"{one:.2g}" for one in np.median(rows, axis=0))
                how = "wait" if wait else f"{share:g}" if workers > 1 else "-"
                print(f"| {dimension} | {name} | {workers} | {how} | {figures} |", flush=True)
    return 0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="15 seeds instead of 5")
    parser.add_argument("--small", action="store_true", help="the table of small budgets")
    parser.add_argument("--late", action="store_true", help="the table of late results")
    options = parser.parse_args()
    seeds = 15 if options.full else 5
    start = time.process_time()
    table = small if options.small else late if options.late else compare
    worse = table(seeds)
    print(f"\n{seeds} seeds, {time.process_time() - start:.0f} s of CPU")
    if worse:
        sys.exit(f"{worse} lines say `worse`")


if __name__ == "__main__":
    main()
