"""Two searches side by side: their winners on the same test documents, and what each had spent when it
first held a candidate as good as the reference's winner, which is one whose test score is not below the
95 % interval of the winner's."""

import json
import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from scipy.stats import t as student

from benchmarks.search_efficiency_runs import Run, Spent, Step, test_evaluation
from evomerge.bootstrap import Estimate
from evomerge.comparison import Comparison
from evomerge.evaluation import Evaluator
from evomerge.fitness import Objective, References, Split, TaskOutcomes
from evomerge.recipe import Recipe
from evomerge.store import SQLStore
from evomerge.store.types import EvaluationRecord, EvaluationStatus

Tested = tuple[EvaluationRecord, Sequence[TaskOutcomes]]
"""Scores and per-document outcomes on the test split."""


@dataclass(frozen=True)
class Mark:
    """Where a search first held a candidate as good as the target; None where it never did."""

    documents: int | None = None
    seconds: float | None = None
    cpu_seconds: float | None = None


@dataclass(frozen=True)
class Pair:
    """A reference and a search of ours with the same zoo and seed.

    lead: our winner's test fitness minus the reference's, paired by document.
    """

    reference: Run
    ours: Run
    lead: Estimate
    reference_mark: Mark
    our_mark: Mark


def tested_winner(store: SQLStore, run: Run) -> Tested:
    """The winner's test scores, which its search has stored."""
    evaluation = test_evaluation(store, run.search_id, run.winner)
    return evaluation, store.outcomes(evaluation.id)


def test(evaluator: Evaluator, recipe: Recipe) -> Tested:
    """A recipe's test scores, made now."""
    result = evaluator.evaluate(recipe, Split.TEST)
    record = EvaluationRecord(0, 0, Split.TEST, EvaluationStatus.SCORED, 1, scores=result.scores)
    return record, result.outcomes


def lead(objective: Objective, ahead: Tested, behind: Tested) -> Estimate:
    """Test fitness of one minus the other's, with the paired 95 % interval."""
    (one, ones), (other, others) = ahead, behind
    estimate, paired = Comparison(objective, References(), [one, other], [ones, others]).lead(0, 1)
    if not paired:
        raise SystemExit("the two winners answered different test documents")
    return estimate


def first_as_good(count: int, is_as_good: Callable[[int], bool]) -> int | None:
    """The first of `count` incumbents that is as good, by bisection; None where the last is not."""
    if not count or not is_as_good(count - 1):
        return None
    low, high = 0, count - 1
    while low < high:
        middle = (low + high) // 2
        if is_as_good(middle):
            high = middle
        else:
            low = middle + 1
    return high


def bar(objective: Objective, tested: Tested) -> float:
    """The lower end of the 95 % interval of a test score: what reaches it is as good."""
    evaluation, outcomes = tested
    low = Comparison(objective, References(), [evaluation], [outcomes]).fitness(0).low
    assert low is not None, "the tasks of a zoo keep their documents"
    return low


def find_mark(
    file: Path, run: Run, store: SQLStore, score: Callable[[Recipe], float], wanted: float
) -> Mark:
    """When the run's incumbent first had a test score of at least `wanted`. Kept in `file`."""
    if file.is_file():
        return Mark(**json.loads(file.read_text(encoding="utf-8")))
    incumbents = [step for step in run.steps if step.best]

    def is_as_good(place: int) -> bool:
        recipe = store.candidate(incumbents[place].candidate_id).recipe
        return score(recipe) >= wanted

    found = first_as_good(len(incumbents), is_as_good)
    mark = Mark() if found is None else _mark(incumbents[found])
    file.write_text(json.dumps(asdict(mark)), encoding="utf-8")
    return mark


def _mark(step: Step) -> Mark:
    return Mark(step.documents, step.seconds, step.cpu_seconds)


def table(pairs: Sequence[Pair]) -> str:
    """Markdown: a line for each zoo, then one for each pair."""
    zoos = list(dict.fromkeys(pair.ours.zoo for pair in pairs))
    lines = [
        "| zoo | seeds | documents: reference → ours | CPU seconds | test score | difference "
        "over seeds (95 %) | documents until as good | CPU seconds until as good |",
        "|---|---|---|---|---|---|---|---|",
        *(_summary([pair for pair in pairs if pair.ours.zoo == zoo]) for zoo in zoos),
        "",
        "| zoo, seed | documents with baselines | seconds by the clock | candidates (dropped) "
        "| test score | difference (95 %, paired) | documents until as good |",
        "|---|---|---|---|---|---|---|",
        *map(_line, pairs),
    ]
    return "\n".join(lines)


def _summary(pairs: Sequence[Pair]) -> str:
    both = [(pair.reference, pair.ours) for pair in pairs]
    documents = [(a.phases["search"].documents, b.phases["search"].documents) for a, b in both]
    cpu = [(a.phases["search"].cpu_seconds, b.phases["search"].cpu_seconds) for a, b in both]
    tests = [(a.test_fitness, b.test_fitness) for a, b in both]
    marks = [(pair.reference_mark, pair.our_mark) for pair in pairs]
    return (
        f"| {pairs[0].ours.zoo} | {len(pairs)} | {_medians(documents, ',.0f')} "
        f"| {_medians(cpu, '.0f')} | {_medians(tests, '.3f')} "
        f"| {_over_seeds([pair.lead.value for pair in pairs])} "
        f"| {_medians([(a.documents, b.documents) for a, b in marks], ',.0f')} "
        f"| {_medians([(a.cpu_seconds, b.cpu_seconds) for a, b in marks], '.0f')} |"
    )


def _line(pair: Pair) -> str:
    def figure(documents: int | None) -> str:
        return "never" if documents is None else f"{documents:,}"

    totals = [_with_baselines(run) for run in (pair.reference, pair.ours)]
    dropped = sum(step.dropped for step in pair.ours.steps)
    return (
        f"| {pair.ours.zoo}, {pair.ours.seed} "
        f"| {totals[0].documents:,} → {totals[1].documents:,} "
        f"| {totals[0].seconds:.0f} → {totals[1].seconds:.0f} "
        f"| {len(pair.reference.steps)} → {len(pair.ours.steps)} ({dropped}) "
        f"| {pair.reference.test_fitness:.3f} → {pair.ours.test_fitness:.3f} "
        f"| {pair.lead.value:+.3f} [{pair.lead.low:+.3f}, {pair.lead.high:+.3f}] "
        f"| {figure(pair.reference_mark.documents)} → {figure(pair.our_mark.documents)} |"
    )


def _with_baselines(run: Run) -> Spent:
    parts = [run.phases[name] for name in ("baselines", "search")]
    return Spent(
        *(sum(values) for values in zip(*(asdict(p).values() for p in parts), strict=True))
    )


def _medians(values: Sequence[tuple[float | None, float | None]], form: str) -> str:
    """Medians of both columns; what never happened counts as infinite, and is told."""
    columns = [
        [math.inf if v is None else v for v in column] for column in zip(*values, strict=True)
    ]
    return " → ".join(_median(column, form) for column in columns)


def _median(column: Sequence[float], form: str) -> str:
    middle, lost = statistics.median(column), sum(map(math.isinf, column))
    text = "never" if math.isinf(middle) else format(middle, form)
    return f"{text} ({lost} of {len(column)} never)" if lost else text


def _over_seeds(values: Sequence[float]) -> str:
    """Mean over seeds with Student's interval."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return f"{mean:+.4f}"
    half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return f"{mean:+.4f} ± {half:.4f}"
