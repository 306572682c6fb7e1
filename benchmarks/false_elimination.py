"""Is a race's stated error kept, and what does racing save? Simulated races with known truth.

    python -m benchmarks.false_elimination

In each race candidates come one by one, in random order. The first answers every document; each later
one races against the best so far, in the blocks of `evomerge.racing`, and answers everything if it is
not dropped. Answers are 0 or 1, right where a model's ability exceeds a document's difficulty by enough
luck (two-parameter logistic, with a floor for guesses); candidates share a part of their luck, as
merges of the same models do. `gap` is how far, in fitness, others are meant to lie behind the best
one; `tie`: the first one answers as many documents of each task as the best one, but not the same,
which is the hardest case that the guarantee covers. The truth is each candidate's fitness on all
documents.

Beside `race`, on the same blocks of the same documents: `Hoeffding` and `Bernstein` (Maurer & Pontil
2009) are tests for a fixed number of documents, the error divided by the number of looks; `z test`
looks after every block as if it were the only look; `oracle` knows the truth and drops after the first
block whoever is behind: nobody can save more.
"""

import argparse
import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from evomerge.bootstrap import wilson_interval
from evomerge.fitness import Floats, TaskOutcomes
from evomerge.racing import Race, RacePlan

ERROR = 0.05
BLOCKS = 10
LOOKS = BLOCKS - 1
GUESS = 0.25
ROUNDING = 1e-12
SPLITS = {
    "1 task, 200 documents": (200,),
    "3 tasks of 300": (300, 300, 300),
    "1319 + 200 + 60": (1319, 200, 60),
}
GAPS: dict[str, float] = {"tie": 0.0, "0.02": 0.02, "0.10": 0.10}
Table = list[Floats]
"""0/1 answers, an array a task."""
Test = Callable[["Look"], bool]


@dataclass(frozen=True)
class Look:
    """What a test may use: answers so far of candidate and rival, and how many there will be."""

    race: Race
    outcomes: tuple[TaskOutcomes, ...]
    differences: Table
    sizes: Sequence[int]
    behind: bool

    @property
    def tasks(self) -> int:
        return len(self.sizes)

    @property
    def lead(self) -> float:
        """Mean over tasks of the mean differences."""
        return sum(float(found.mean()) for found in self.differences) / self.tasks


@dataclass
class Tally:
    """What one test did."""

    races: int = 0
    lost: int = 0
    answered: int = 0
    documents: int = 0

    @property
    def share(self) -> float:
        """Of all documents, those answered."""
        return self.answered / self.documents


def main() -> None:
    """Print one table: a row for each kind of race, then all together."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--races", type=int, default=60, help="for each row")
    options = parser.parse_args()
    total: dict[str, Tally] = defaultdict(Tally)
    print(
        f"error {ERROR}, {BLOCKS} blocks; best candidate lost in % of races | documents answered %"
    )
    print(f"{'documents':<22}{'n':>3}{'gap':>6}  " + "".join(f"{n:>16}" for n in TESTS))
    number = 0
    for split, sizes in SPLITS.items():
        for count in (4, 16):
            for gap in GAPS:
                row: dict[str, Tally] = defaultdict(Tally)
                for _ in range(options.races):
                    number += 1
                    run_race(np.random.default_rng([20_250_303, number]), sizes, count, gap, row)
                _print(f"{split:<22}{count:>3}{gap:>6}", row)
                _add(total, row)
    _print(f"{f'{number} races':<31}", total)
    _verdict(total["race"])


def run_race(
    rng: np.random.Generator, sizes: Sequence[int], count: int, gap: str, row: dict[str, Tally]
) -> None:
    """One search's worth of candidates, judged by every test on its own."""
    tables = make_candidates(rng, sizes, count, gap)
    truth = [_fitness(table) for table in tables]
    seed = int(rng.integers(1 << 30))
    for name, test in TESTS.items():
        tally = row[name]
        tally.races += 1
        best = 0
        tally.documents += count * sum(sizes)
        tally.answered += sum(sizes)
        lost = False
        for one in range(1, count):
            behind = truth[one] < truth[best] - ROUNDING
            answered, dropped = _run(tables[one], tables[best], seed, test, behind)
            tally.answered += answered
            lost |= dropped and truth[one] >= max(truth) - ROUNDING
            if not dropped and truth[one] > truth[best]:
                best = one
        tally.lost += lost


def _run(mine: Table, its: Table, seed: int, test: Test, behind: bool) -> tuple[int, bool]:
    """Documents answered, and whether the candidate was dropped."""
    whole, rival = _outcomes(mine), _outcomes(its)
    plan = _plan(rival, seed)
    race, sizes = Race(plan), [len(column) for column in mine]
    seen: dict[str, list[int]] = defaultdict(list)
    for block in plan.layout.divide({one.task: one.doc_ids for one in whole})[:-1]:
        for task, ids in block.items():
            seen[task] += ids
        chosen = [np.array(seen[one.task]) for one in whole]
        part = tuple(_part(one, ids) for one, ids in zip(whole, chosen, strict=True))
        differences = [m[i] - r[i] for m, r, i in zip(mine, its, chosen, strict=True)]
        if test(Look(race, part, differences, sizes, behind)):
            return sum(map(len, chosen)), True
    return sum(sizes), False


def _plan(rival: tuple[TaskOutcomes, ...], seed: int) -> RacePlan:
    tasks = [one.task for one in rival]
    factors = dict.fromkeys(tasks, 1 / len(tasks))
    return RacePlan(rival, dict.fromkeys(tasks, "acc"), factors, ERROR, BLOCKS, seed)


def make_candidates(
    rng: np.random.Generator, sizes: Sequence[int], count: int, gap: str
) -> list[Table]:
    """Candidates in the order they come."""
    top, kinship = rng.uniform(0.55, 0.9), rng.uniform(0.2, 0.8)
    world = [Task.make(rng, size) for size in sizes]
    far = [0.0, *(GAPS[gap] + rng.exponential(0.08, count - 1))]
    tables = [[task.answer(rng, max(0.3, top - one), kinship) for task in world] for one in far]
    rng.shuffle(tables)
    if gap != "tie":
        return tables
    best = max(range(count), key=lambda place: _fitness(tables[place]))
    twin = [rng.permutation(column) for column in tables[best]]
    others = [table for place, table in enumerate(tables) if place != best][: count - 2]
    others.insert(int(rng.integers(count - 1)), tables[best])
    return [twin, *others]


@dataclass(frozen=True)
class Task:
    """Documents with a difficulty, a slope, and the luck that all candidates may share."""

    hardness: Floats
    slopes: Floats
    luck: Floats
    guess: Floats

    @classmethod
    def make(cls, rng: np.random.Generator, size: int, spread: float = 1.5) -> "Task":
        """Documents at random; `spread` is the standard deviation of their difficulty."""
        return cls(
            rng.normal(0, spread, size),
            rng.lognormal(0, 0.3, size),
            rng.logistic(size=size),
            rng.random(size),
        )

    def answer(self, rng: np.random.Generator, share: float, kinship: float) -> Floats:
        """One candidate that gets about `share` right, with `kinship` of its luck the shared one."""
        shared = rng.random(len(self.luck)) < kinship
        luck = np.where(shared, self.luck, rng.logistic(size=len(self.luck)))
        guess = np.where(shared, self.guess, rng.random(len(self.guess))) < GUESS
        ability = self._ability((share - GUESS) / (1 - GUESS))
        return ((self.slopes * (ability - self.hardness) + luck > 0) | guess).astype(np.float64)

    def _ability(self, share: float) -> float:
        """The ability at which that share is right without guessing (bisection)."""
        low, high = -15.0, 15.0
        for _ in range(40):
            middle = (low + high) / 2
            right = 1 / (1 + np.exp(-self.slopes * (middle - self.hardness)))
            low, high = (middle, high) if right.mean() < share else (low, middle)
        return low


def race(look: Look) -> bool:
    """What evomerge does."""
    return look.race.is_out(look.outcomes)


def oracle(look: Look) -> bool:
    """Knows the truth."""
    return look.behind


def hoeffding(look: Look) -> bool:
    """For differences in [-1, 1], without replacement (Hoeffding 1963, section 6)."""
    spread = sum(4 / len(found) for found in look.differences) / look.tasks**2
    return look.lead + math.sqrt(spread * math.log(LOOKS / ERROR) / 2) < 0


def bernstein(look: Look) -> bool:
    """Empirical Bernstein for each task, the error divided by tasks and looks."""
    level = math.log(2 * look.tasks * LOOKS / ERROR)
    widths = [
        math.sqrt(2 * found.var(ddof=1) * level / len(found)) + 14 * level / (3 * (len(found) - 1))
        for found in look.differences
    ]
    return look.lead + sum(widths) / look.tasks < 0


def z_test(look: Look) -> bool:
    """The paired test of textbooks, after every block as if it were the only one."""
    pairs = zip(look.differences, look.sizes, strict=True)
    variance = sum(f.var(ddof=1) / len(f) * (1 - len(f) / size) for f, size in pairs)
    stderr = math.sqrt(variance) / look.tasks
    return look.lead + NormalDist().inv_cdf(1 - ERROR) * stderr < 0


TESTS: dict[str, Test] = {
    "race": race,
    "Hoeffding": hoeffding,
    "Bernstein": bernstein,
    "z test": z_test,
    "oracle": oracle,
}


def _outcomes(table: Table) -> tuple[TaskOutcomes, ...]:
    return tuple(
        TaskOutcomes(f"task {number}", tuple(range(len(column))), {"acc": column})
        for number, column in enumerate(table)
    )


def _part(whole: TaskOutcomes, ids: Sequence[int]) -> TaskOutcomes:
    return TaskOutcomes(whole.task, tuple(ids), {"acc": whole.values["acc"][list(ids)]})


def _fitness(table: Table) -> float:
    return sum(float(column.mean()) for column in table) / len(table)


def _add(total: dict[str, Tally], row: Mapping[str, Tally]) -> None:
    for name, tally in row.items():
        one = total[name]
        one.races += tally.races
        one.lost += tally.lost
        one.answered += tally.answered
        one.documents += tally.documents


def _print(label: str, row: Mapping[str, Tally]) -> None:
    cells = "".join(
        f"{100 * row[name].lost / row[name].races:>8.1f} |{100 * row[name].share:>6.1f}"
        for name in TESTS
    )
    print(f"{label}  {cells}", flush=True)


def _verdict(tally: Tally) -> None:
    found = wilson_interval(np.repeat([1.0, 0.0], [tally.lost, tally.races - tally.lost]))
    print(
        f"race: lost the best candidate in {tally.lost} of {tally.races} "
        f"(95 %: {found.low:.4f} to {found.high:.4f}), stated: {ERROR}; "
        f"documents saved: {1 - tally.share:.1%}"
    )


if __name__ == "__main__":
    main()
