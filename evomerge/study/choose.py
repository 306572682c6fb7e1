"""From a cell to its recipe: published values, the best of some candidates, a search, or what is learned.

Choosing sees the search and validation splits of the tasks that the merged experts were trained for, and
nothing else: neither the test split, nor tasks that measure what was not trained for.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from evomerge.errors import EvaluationError
from evomerge.export.candidates import find_candidate
from evomerge.fitness import Costs, References, Split, compute_fitness
from evomerge.recipe import Recipe
from evomerge.service import check_search, run_search
from evomerge.space import SearchSpace
from evomerge.spec import Budget, CalibrationSpec, SearchSpec, StrategySpec
from evomerge.store.types import EvaluationRecord, EvaluationStatus, SearchStatus
from evomerge.strategy import make_strategy
from evomerge.study.bench import Where, find_or_submit, open_bench
from evomerge.study.plan import Cell
from evomerge.study.recipes import default_recipe, given_values, needs_weight
from evomerge.study.records import Choice, Spent
from evomerge.study.statistics import MeasuredStatistic, measured_for

NEUTRAL = "task_arithmetic_global"
"""The space of a bench, which nobody searches; it takes any number of models."""


@dataclass(frozen=True)
class Task:
    """A cell to choose for.

    spec: a search over the cell's experts and their own tasks; its space is the entry's. texts: the
    calibration set. after: the choice that this one begins at. key: names what is kept meanwhile.
    """

    cell: Cell
    spec: SearchSpec
    texts: str | None
    after: Choice | None
    key: str
    folder: Path


def choose(task: Task, where: Where) -> Choice:
    """The cell's recipe. Raises EvomergeError where nothing can be chosen."""
    entry = task.cell.entry
    if entry.declared.learned:
        from evomerge.study.learned import learned_choice

        begin = None if task.after is None else task.after.recipe
        return learned_choice(task.cell, task.texts, begin, task.folder)
    if entry.policy == "default":
        return _default(task, where)
    return _tuned(task, where) if entry.policy == "tuned" else _searched(task, where)


def _default(task: Task, where: Where) -> Choice:
    recipe = default_recipe(task.cell, task.texts)
    return Choice(recipe, Spent(statistics=measured_for(recipe, where)))


def _tuned(task: Task, where: Where) -> Choice:
    """The best of the candidates on the validation split, the first one of equals."""
    checked = check_search(task.spec, where.store.url, here=where.address is None)
    recipes = list(_candidates(task.cell, checked.space))
    statistics = _measured(recipes, checked.spec, where)
    labelled = [(f"{task.cell.entry.label}, {n}", recipe) for n, recipe in enumerate(recipes)]
    with open_bench(where, plain(checked.spec)) as bench:
        found = bench.score(labelled, Split.VALIDATION)
        fitness = [_fitness(bench.spec, one) for one in found]
    best = max(range(len(fitness)), key=lambda place: (fitness[place], -place))
    if fitness[best] == -math.inf:
        raise EvaluationError(f"no candidate could be scored: {found[0].error}")
    spent = _spent({e.id: e for e in found}.values(), len(recipes))
    return Choice(recipes[best], replace(spent, statistics=statistics))


def _fitness(spec: SearchSpec, evaluation: EvaluationRecord) -> float:
    """The mean over the tasks, bigger is better."""
    if evaluation.status is not EvaluationStatus.SCORED:
        return -math.inf
    return compute_fitness(spec.objective, evaluation.scores, References()).value


def _candidates(cell: Cell, space: SearchSpace) -> Iterator[Recipe]:
    """What the strategy asks for; a grid may have fewer points than the budget allows."""
    count = cell.entry.candidates
    assert count is not None, "a tuned entry states its budget"
    strategy = make_strategy(
        StrategySpec(name=cell.entry.how, seed=cell.seed),
        space.encode(_start_values(cell), cell.entry.method),
        space.cells,
        ordered=space.ordered,
        budget=count,
    )
    for _ in range(count):
        yield space.decode(strategy.ask())
        if strategy.stop_reason:
            return


def _measured(
    recipes: Sequence[Recipe], spec: SearchSpec, where: Where
) -> tuple[MeasuredStatistic, ...]:
    """Everything that some recipes are computed from, each statistic once."""
    if spec.calibration.set is not None:
        from evomerge.evaluation.calibration_texts import texts_of

        texts_of(spec).save()
    found = [one for recipe in recipes for one in measured_for(recipe, where)]
    return tuple(dict.fromkeys(found))


def _start_values(cell: Cell) -> dict[str, float | bool | str]:
    weight = {"weight": 1.0} if needs_weight(cell.entry.declared) else {}
    return {**weight, **given_values(cell)}


def _searched(task: Task, where: Where) -> Choice:
    """The winner of a search, which goes on where it was killed."""
    checked = check_search(_search_spec(task), where.store.url, here=where.address is None)
    search = find_or_submit(where.store, checked, f"study-{task.key}")
    if search.status is not SearchStatus.FINISHED:
        dispatcher = where.dispatcher(search)
        try:
            status = run_search(where.store, search.id, dispatcher)
        finally:
            dispatcher.close()
        if status is not SearchStatus.FINISHED:  # somebody paused or cancelled it by its id
            raise KeyboardInterrupt
    winner = find_candidate(where.store, search.id).recipe
    ended = where.store.evaluations(search.id)
    chosen_by = [e for e in ended if e.split is not Split.TEST]
    spent = _spent(chosen_by, sum(e.split is Split.SEARCH for e in ended))
    return Choice(winner, replace(spent, statistics=_measured([winner], search.spec, where)))


def _search_spec(task: Task) -> SearchSpec:
    """In generations, unless the file says otherwise: what is found then depends on no worker's pace."""
    entry = task.cell.entry
    assert entry.candidates is not None, "a searched entry states its budget"
    given = entry.strategy or StrategySpec()
    paced = False if given.asynchronous == "auto" else given.asynchronous
    strategy = given.model_copy(update={"seed": task.cell.seed, "asynchronous": paced})
    if task.after is not None:
        first = task.after.start or task.after.recipe
        starts = strategy.start.model_copy(update={"recipes": (first,)})
        strategy = strategy.model_copy(update={"start": starts})
    budget = Budget(candidates=entry.candidates)
    return task.spec.model_copy(update={"strategy": strategy, "budget": budget})


def _spent(evaluations: Iterable[EvaluationRecord], candidates: int) -> Spent:
    """Seconds are those of engines: a study that was killed and went on has no other clock."""
    costs = [e.costs or Costs() for e in evaluations if e.copied_from is None]
    seconds = sum(cost.total_seconds for cost in costs)
    return Spent({"search": seconds}, sum(cost.tokens for cost in costs), candidates)


def plain(spec: SearchSpec) -> SearchSpec:
    """A search as a bench: what is searched, and on which texts, is no part of it."""
    return spec.model_copy(update={"space": NEUTRAL, "calibration": CalibrationSpec()})
