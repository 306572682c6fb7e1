"""Methods that use data on the demo's zoo, beside the uniform average and the searches.

    python -m benchmarks.data_methods [--zoos N] [--searches N]

Every recipe answers the same test documents; intervals are of the mean over tasks, documents resampled
(95 %), and leads over the uniform average are paired. With several zoos, which differ in the seed that they
were trained from, there is a table of all: means over the zoos, the lowest and the highest, and Student's
interval of the lead. Searches see the search split alone, as the demo's.
Texts are the search split's documents of the task that each expert was trained for (`own`), or of all
tasks for every expert. Seconds are CPU seconds of one thread. Prints the table of docs/calibration.md.
"""

import argparse
import tempfile
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from evomerge.bootstrap import percentile_interval, resampled_means
from evomerge.evaluation import Evaluator, make_evaluator
from evomerge.evaluation.calibrated import calibrate, work_of
from evomerge.fitness import EvaluationResult, Split
from evomerge.methods import get_method
from evomerge.preflight import preflight
from evomerge.recipe import Calibration, Recipe, Source, constant
from evomerge.service import check_search, make_dispatcher, run_search, submit_search
from evomerge.spec import CalibrationSpec, SearchSpec, load_preset, load_spec
from evomerge.store import open_store
from evomerge.zoo import ZOOS, build_zoo

OWN = {"reverse": "zoo_reverse", "sort": "zoo_sort", "rotate": "zoo_rotate", "decoy": "zoo_sort"}
"""Of each expert, the task that it was trained for; the decoy was asked to sort."""
RECIPES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "uniform average": ("linear", {}),
    "Fisher": ("fisher", {}),
    "Fisher, normalised a model": ("fisher", {"normalise": "model"}),
    "RegMean": ("regmean", {}),
    "MaTS, covariance, 10 steps": ("mats", {"iterations": 10.0}),
    "MaTS, K-FAC, 10 steps": ("mats", {"objective": "kfac", "iterations": 10.0}),
    "MaTS, Fisher, 10 steps": ("mats", {"objective": "fisher", "iterations": 10.0}),
    "task arithmetic, λ = .3": ("task_arithmetic", {"lambda": 0.3}),
    "Sens-Merging, λ = .3": ("sens_merging", {"lambda": 0.3}),
    "Sens-Merging, T = .05, λ = .3": ("sens_merging", {"temperature": 0.05, "lambda": 0.3}),
}
SEARCHES: Mapping[str, tuple[str | None, int]] = {
    "search, task arithmetic (the demo's)": (None, 60),
    "search, fisher_global": ("fisher_global", 30),
    "search, regmean_global": ("regmean_global", 30),
}
STATISTICS_OF_ALL = ("fisher", "regmean", "mats", "sens_merging")


@dataclass(frozen=True)
class Row:
    """One line of the table; `values` are the documents' of each task."""

    name: str
    values: Mapping[str, np.ndarray]
    seconds: float
    candidates: int = 1

    @property
    def mean(self) -> float:
        return float(np.mean([found.mean() for found in self.values.values()]))


def main() -> None:
    """Measure, merge, search, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--zoo", choices=sorted(ZOOS), default="demo")
    parser.add_argument("--zoos", type=int, default=1, help="trained from so many seeds")
    parser.add_argument("--searches", type=int, default=0, help="on so many of them")
    options = parser.parse_args()
    found = []
    for number in range(options.zoos):
        config = ZOOS[options.zoo]
        config = replace(config, seed=config.seed + number)
        spec = load_spec(build_zoo(config=config).search_file)
        own = OWN if options.zoo == "demo" else {}
        print(f"\nseed {config.seed}\n", flush=True)
        found.append(rows_of(spec, own, searches=number < options.searches))
        print(table(found[-1]), flush=True)
    if len(found) > 1:
        print(f"\nall {len(found)} zoos\n\n{table_of_zoos(found)}")


def rows_of(spec: SearchSpec, own: Mapping[str, str], *, searches: bool) -> list[Row]:
    """Every recipe of one zoo, and its searches where asked."""
    shared, given = (with_texts(spec, texts) for texts in ({}, own))
    for one in (shared, given):
        measure_all(one)
    with closing(engine(spec)) as evaluator:
        rows = [evaluated(name, given, evaluator) for name in RECIPES]
        for name in ("Fisher", "RegMean"):
            row = evaluated(name, shared, evaluator)
            rows.append(Row(f"{name}, texts of all tasks", row.values, row.seconds))
    if not searches:
        return rows
    found = {name: searched(name, given) for name in SEARCHES}
    with closing(engine(spec)) as evaluator:
        for name, (recipe, seconds, count) in found.items():
            result = evaluator.evaluate(recipe, Split.TEST)
            rows.append(Row(name, documents(result), seconds, count))
    return rows


def engine(spec: SearchSpec) -> Evaluator:
    """The search's engine, without measuring anything."""
    return make_evaluator(spec.model_copy(update={"calibration": CalibrationSpec()}))


def with_texts(spec: SearchSpec, own: Mapping[str, str]) -> SearchSpec:
    """The search with its calibration texts pinned; its space is one that needs texts."""
    wished = CalibrationSpec(own=dict(own), examples=128, max_length=32)
    update = {"calibration": wished, "space": load_preset("regmean_global")}
    return preflight(spec.model_copy(update=update)).spec


def measure_all(spec: SearchSpec) -> None:
    """Every statistic that a method here needs; prints what each one costs."""
    names: set[str] = set()
    for method in STATISTICS_OF_ALL:
        known = get_method(method)
        assert known.statistics is not None
        for values in ({"objective": "covariance"}, {"objective": "kfac"}, {"objective": "fisher"}):
            defaults = {own.name: own.default for own in known.parameters if not own.per_model}
            names |= {*known.statistics({**defaults, **values})}  # type: ignore[arg-type]
    work = work_of(spec)
    assert work is not None
    for name in sorted(names):
        start = time.process_time()
        one = type(work)(work.models, work.folders, (name,), work.texts)
        count = calibrate(one, device="cpu")
        if count:
            seconds = time.process_time() - start
            print(f"{name}: {count} measured in {seconds:.1f} CPU s, loading included", flush=True)


def recipe_of(name: str, spec: SearchSpec) -> Recipe:
    """A recipe at the method's defaults, but for what the table names."""
    method, parameters = RECIPES[name]
    sources = tuple(Source(model=m, parameters={"weight": constant(1.0)}) for m in spec.models)
    texts = None if get_method(method).statistics is None else spec.calibration.set
    return Recipe(
        merge_method=method,
        base_model=spec.base_model,
        models=sources,
        parameters={key: constant(value) for key, value in parameters.items()},
        calibration=None if texts is None else Calibration(data=texts),
    )


def evaluated(name: str, spec: SearchSpec, evaluator: Any) -> Row:
    """A recipe on the test split, and the CPU seconds that its merge takes the second time."""
    recipe = recipe_of(name, spec)
    result = evaluator.evaluate(recipe, Split.TEST)
    start = time.process_time()
    evaluator.apply(recipe)
    return Row(name, documents(result), time.process_time() - start)


def documents(result: EvaluationResult) -> dict[str, np.ndarray]:
    """The headline's value of each document, by task."""
    metrics = {score.task: score.metric for score in result.scores if score.headline}
    return {found.task: found.values[metrics[found.task]] for found in result.outcomes}


def searched(name: str, spec: SearchSpec) -> tuple[Recipe, float, int]:
    """The winner of a search, its CPU seconds, and its candidates."""
    space, candidates = SEARCHES[name]
    update: dict[str, Any] = {"budget": spec.budget.model_copy(update={"candidates": candidates})}
    own = load_spec(Path(spec.objective.include_path or "").parent / "search.yml")
    update["space"] = own.space if space is None else space
    wished = spec.calibration.model_copy(update={"set": None})
    changed = spec.model_copy(update={**update, "calibration": wished})
    start = time.process_time()
    with (
        tempfile.TemporaryDirectory() as folder,
        closing(open_store(f"{folder}/s.db", create=True)) as store,
    ):
        search = submit_search(store, check_search(changed))
        dispatcher = make_dispatcher(search.spec, store.url, inline=True)
        try:
            run_search(store, search.id, dispatcher)
        finally:
            dispatcher.close()
        from evomerge.export.candidates import find_candidate

        winner = find_candidate(store, search.id).recipe
    return winner, time.process_time() - start, candidates


def table(rows: list[Row]) -> str:
    """Markdown, in the order of the rows."""
    first = rows[0]
    draws = {row.name: _draws(row) for row in rows}
    lines = [
        "| | mean of the tasks | over the uniform average | CPU seconds |",
        "|---|---|---|---|",
    ]
    for row in rows:
        found = percentile_interval(row.mean, draws[row.name])
        lead = percentile_interval(row.mean - first.mean, draws[row.name] - draws[first.name])
        ahead = "" if row is first else f"{lead.value:+.3f} [{lead.low:+.3f}, {lead.high:+.3f}]"
        cost = f"{row.seconds:.3f} a merge" if row.candidates == 1 else f"{row.seconds:.0f}"
        lines.append(
            f"| {row.name} | {found.value:.3f} [{found.low:.3f}, {found.high:.3f}] | {ahead} | {cost} |"
        )
    return "\n".join(lines)


def table_of_zoos(zoos: list[list[Row]]) -> str:
    """Markdown of the rows that several zoos have: means, extremes, leads with Student's interval."""
    lines = [
        "| | mean of the tasks (lowest, highest) | over the uniform average | zoos |",
        "|---|---|---|---|",
    ]
    firsts = [rows[0].mean for rows in zoos]
    for name in dict.fromkeys(row.name for rows in zoos for row in rows):
        own = [(n, row.mean) for n, rows in enumerate(zoos) for row in rows if row.name == name]
        means = np.array([mean for _, mean in own])
        leads = means - np.array([firsts[n] for n, _ in own])
        ahead = "" if name == zoos[0][0].name else _student(leads)
        shown = f"{means.mean():.3f} ({means.min():.3f}, {means.max():.3f})"
        lines.append(f"| {name} | {shown} | {ahead} | {len(own)} |")
    return "\n".join(lines)


def _student(values: np.ndarray) -> str:
    """The mean of a few values with its 95 % interval."""
    from scipy.stats import t

    mean, count = float(values.mean()), len(values)
    if count < 2:
        return f"{mean:+.3f}"
    half = float(t.ppf(0.975, count - 1) * values.std(ddof=1) / np.sqrt(count))
    return f"{mean:+.3f} [{mean - half:+.3f}, {mean + half:+.3f}]"


def _draws(row: Row) -> np.ndarray:
    """Resampled means over the tasks; every row sees the same documents."""
    each = [
        resampled_means(found[None, :], seed=number)[:, 0]
        for number, (_, found) in enumerate(sorted(row.values.items()))
    ]
    return np.mean(each, axis=0)


if __name__ == "__main__":
    main()
