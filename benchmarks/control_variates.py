"""How well is fitness guessed from a part of the documents, and what would make the guess better?

    python -m benchmarks.control_variates                       # simulated models
    python -m benchmarks.control_variates --store FILE SEARCH   # a search that scored without racing

Candidates stand in the order they came; each is guessed from its first rounds of documents, knowing
the complete answers of those before it: of all, and of each tenth one, about as many as races
against the best leave complete. Root mean squared error, in thousandths of fitness:

- `plain`: mean over documents answered, task by task
- `paired`: the best earlier candidate's fitness plus the mean paired difference
- `ours`: `evomerge.racing.estimate_fitness`, a regression on that candidate's answers
- `items`: the same regression on each document's mean over all earlier candidates: its difficulty
- `both`: on the two together
- `2PL`: item response theory. Slopes and difficulties are fitted to all earlier candidates by
  penalised maximum likelihood, the candidate's ability to the documents answered, and those left are
  predicted (p-IRT: Polo et al., tinyBenchmarks, 2024; Mencattini et al., MERGE3, 2025)
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from benchmarks.false_elimination import Task
from evomerge.fitness import Floats, Split, TaskOutcomes
from evomerge.racing import RacePlan, estimate_fitness
from evomerge.racing.blocks import shuffle

SHARES = (0.03, 0.1, 0.25, 0.5)
EARLIER = 20
"""Candidates that are known before the first one is guessed."""
Table = list[Floats]
WORLDS = {"alike": (0.5, 0.5), "hard and easy": (2.5, 0.3), "hard, easy, kin": (1.5, 0.8)}
"""Spread of difficulty, and the part of luck that candidates share."""


def main() -> None:
    """Print a table for each set of candidates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", nargs=2, metavar=("FILE", "SEARCH"))
    parser.add_argument("--shuffles", type=int, default=3)
    options = parser.parse_args()
    if options.store:
        report(options.store[1], from_store(*options.store), options.shuffles)
        return
    for name, (spread, kinship) in WORLDS.items():
        report(name, simulate(spread, kinship), options.shuffles)


def report(name: str, candidates: list[Table], shuffles: int) -> None:
    """One line for each share of documents answered."""
    print(f"{name}: {len(candidates)} candidates, {[len(c) for c in candidates[0]]} documents")
    for step, known in ((1, "all known"), (10, "a tenth known")):
        errors: dict[tuple[float, str], list[float]] = defaultdict(list)
        for seed in range(shuffles):
            for number in range(EARLIER, len(candidates), 4):
                candidate, truth = candidates[number], fitness(candidates[number])
                for share in SHARES:
                    for how, guess in guesses(candidates[:number:step], candidate, share, seed):
                        errors[share, how].append(guess - truth)
        for share in SHARES:
            cells = [
                f"{how} {1000 * np.sqrt(np.mean(np.square(found))):.1f}"
                for (at, how), found in errors.items()
                if at == share
            ]
            print(f"  {known}, {share:>4.0%} answered: {', '.join(cells)}", flush=True)


def guesses(
    earlier: list[Table], candidate: Table, share: float, seed: int
) -> Iterator[tuple[str, float]]:
    """Every estimator's guess."""
    rival = max(earlier, key=fitness)
    sizes = {str(task): range(len(column)) for task, column in enumerate(candidate)}
    order = [np.array(ids) for ids in shuffle(sizes, seed).values()]
    rounds = max(2, round(share * np.mean([len(column) for column in candidate])))
    seen, left = [ids[:rounds] for ids in order], [ids[rounds:] for ids in order]
    items = [np.mean([one[task] for one in earlier], axis=0) for task in range(len(candidate))]
    view = _View(candidate, seen, left)
    yield "plain", view.guess([], [])
    yield "paired", view.guess([rival], [1.0])
    yield "ours", ours(rival, candidate, seen, seed)
    yield "items", view.guess([items], view.slopes([items], [1.0]))
    yield "both", view.guess([rival, items], view.slopes([rival, items], [0.3, 0.5]))
    yield "2PL", item_response(earlier, view)


class _View:
    """A candidate's answers to the documents seen, and which are left."""

    def __init__(self, candidate: Table, seen: list[Floats], left: list[Floats]) -> None:
        self.seen, self.left = seen, left
        self.answers = [column[ids] for column, ids in zip(candidate, seen, strict=True)]

    def guess(self, known: Sequence[Table], slopes: Sequence[float]) -> float:
        """Fitness, if documents left are answered like those seen but for what is known of them."""
        total = 0.0
        for task, answers in enumerate(self.answers):
            seen, left = self.seen[task], self.left[task]
            shift = sum(
                slope * float(one[task][left].mean() - one[task][seen].mean())
                for one, slope in zip(known, slopes, strict=True)
            )
            count = len(seen) + len(left)
            total += (answers.sum() + len(left) * (answers.mean() + shift)) / count
        return total / len(self.answers)

    def slopes(self, known: Sequence[Table], belief: Sequence[float]) -> list[float]:
        """Ridge regression about each task's means, towards a belief."""
        square, cross = 2.0 * np.eye(len(known)), 2.0 * np.array(belief)
        for task, answers in enumerate(self.answers):
            columns = np.array([one[task][self.seen[task]] for one in known])
            columns = columns - columns.mean(axis=1, keepdims=True)
            square += columns @ columns.T
            cross += columns @ (answers - answers.mean())
        return [float(slope) for slope in np.linalg.solve(square, cross)]


def ours(rival: Table, candidate: Table, seen: list[Floats], seed: int) -> float:
    """What a search is told."""
    everything = [np.arange(len(column)) for column in rival]
    tasks = [str(task) for task in range(len(rival))]
    factors = dict.fromkeys(tasks, 1 / len(tasks))
    metrics = dict.fromkeys(tasks, "value")
    plan = RacePlan(_outcomes(rival, everything), metrics, factors, 0.05, 10, seed)
    return estimate_fitness(plan, _outcomes(candidate, seen))[0]


def _outcomes(table: Table, seen: Sequence[Floats]) -> tuple[TaskOutcomes, ...]:
    return tuple(
        TaskOutcomes(
            str(task), tuple(int(n) for n in np.sort(ids)), {"value": column[np.sort(ids)]}
        )
        for task, (column, ids) in enumerate(zip(table, seen, strict=True))
    )


def item_response(earlier: list[Table], view: _View) -> float:
    """p-IRT, a model for each task."""
    total = 0.0
    for task, answers in enumerate(view.answers):
        slopes, easiness = _fit_items(np.array([one[task] for one in earlier]))
        seen, left = view.seen[task], view.left[task]
        ability = 0.0
        for _ in range(30):  # Newton, with a normal belief about abilities
            right = 1 / (1 + np.exp(-(slopes[seen] * ability + easiness[seen])))
            slope = (slopes[seen] * (answers - right)).sum() - 0.3 * ability
            bend = (right * (1 - right) * slopes[seen] ** 2).sum() + 0.3
            ability = float(np.clip(ability + 0.8 * slope / bend, -8, 8))
        predicted = 1 / (1 + np.exp(-(slopes[left] * ability + easiness[left])))
        total += (answers.sum() + predicted.sum()) / (len(seen) + len(left))
    return total / len(view.answers)


def _fit_items(answers_CN: Floats, steps: int = 40) -> tuple[Floats, Floats]:
    """Slope and easiness of each of N documents from C candidates: alternating Newton steps."""
    ability_C1 = _logit(answers_CN.mean(axis=1))[:, None]
    ability_C1 = ability_C1 - ability_C1.mean()
    slope_N, easiness_N = np.ones(answers_CN.shape[1]), _logit(answers_CN.mean(axis=0))
    for _ in range(steps):
        for part in range(3):
            right = 1 / (1 + np.exp(-(slope_N * ability_C1 + easiness_N)))
            bend, miss = right * (1 - right) + 1e-6, answers_CN - right
            if part == 0:
                step = (miss.sum(axis=0) - 0.1 * easiness_N) / (bend.sum(axis=0) + 0.1)
                easiness_N = easiness_N + 0.7 * step
            elif part == 1:
                top = (miss * ability_C1).sum(axis=0) - (slope_N - 1)
                step = top / ((bend * ability_C1**2).sum(axis=0) + 1)
                slope_N = np.clip(slope_N + 0.7 * step, 0.05, 6)
            else:
                top = (miss * slope_N).sum(axis=1, keepdims=True) - 0.3 * ability_C1
                step = top / ((bend * slope_N**2).sum(axis=1, keepdims=True) + 0.3)
                ability_C1 = ability_C1 + 0.7 * step
                ability_C1 = ability_C1 - ability_C1.mean()
    return slope_N, easiness_N


def _logit(share: Floats) -> Floats:
    cut = np.clip(share, 0.02, 0.98)
    found: Floats = np.log(cut / (1 - cut))
    return found


def fitness(table: Table) -> float:
    """Mean of task means."""
    return float(np.mean([column.mean() for column in table]))


def simulate(spread: float, kinship: float, count: int = 112) -> list[Table]:
    """Candidates that get better, as those of a search do."""
    rng = np.random.default_rng([20_250_304, int(10 * spread)])
    world = [Task.make(rng, size, spread) for size in (106, 114, 105, 135, 115, 108)]
    shares = 0.5 + 0.35 * np.arange(count) / count + rng.normal(0, 0.08, count)
    return [
        [task.answer(rng, float(np.clip(share, 0.3, 0.95)), kinship) for task in world]
        for share in shares
    ]


def from_store(file: str, search: str) -> list[Table]:
    """Every candidate of a search that answered all search documents, in order."""
    from contextlib import closing

    from evomerge.store import open_store

    with closing(open_store(file)) as store:
        found = [
            e
            for e in store.evaluations(search)
            if e.split is Split.SEARCH and e.fitness is not None
        ]
        tables: list[Table] = []
        for evaluation in sorted(found, key=lambda e: e.candidate_id):
            heads: Mapping[str, str] = {s.task: s.metric for s in evaluation.scores if s.headline}
            outcomes = store.outcomes(evaluation.id)
            tables.append([one.values[heads[one.task]] for one in outcomes])
    whole = max(sum(map(len, table)) for table in tables)
    return [table for table in tables if sum(map(len, table)) == whole]


if __name__ == "__main__":
    main()
