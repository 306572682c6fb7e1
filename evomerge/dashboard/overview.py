"""One search: where it stands, what it has found, how it got there, where its time goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from evomerge.dashboard.budgets import Meter, read_meters
from evomerge.dashboard.drawing import Drawing, draw
from evomerge.dashboard.fronts import front_words, read_cloud
from evomerge.dashboard.standing import Standing
from evomerge.dashboard.tables import Tables
from evomerge.dashboard.words import figure, signed
from evomerge.fitness import Split
from evomerge.insight import Point
from evomerge.recipe import Recipe
from evomerge.report.charts import (
    Cloud,
    cost_bar,
    history_chart,
    pareto_chart,
    pareto_pairs,
)
from evomerge.report.heatmap import HeatMap, heat_maps, stacked_layers
from evomerge.results import Results, is_baseline, label_of
from evomerge.store import SQLStore
from evomerge.store.pages import Course, Dot, Window
from evomerge.store.types import CandidateRecord, EvaluationRecord, Origin

_KINDS = ("merge", "load", "forward", "overhead", "lost", "other", "waiting")
Chosen = Sequence[tuple[CandidateRecord, EvaluationRecord]]


@dataclass(frozen=True)
class Live:
    """What changes while a search runs.

    results: None before anything was scored. baselines: names and fitness on the search split, best
    first. records: the latest improvements, newest first. busy: attempts under way. mishaps: attempts
    that came to nothing. verdict: all of it in a sentence; empty before there is anything to say.
    notes: what is to be known about it. seconds_left: until the budget is tried at the present pace;
    None where nobody knows.
    """

    standing: Standing
    results: Results | None
    course: Course
    chart: Drawing
    fronts: tuple[Drawing, ...]
    baselines: tuple[tuple[str, float], ...]
    records: tuple[Dot, ...]
    meters: tuple[Meter, ...]
    busy: int
    mishaps: int
    seconds_left: float | None
    verdict: str
    notes: tuple[str, ...] = ()

    @property
    def best_is_searched(self) -> bool:
        """Whether the best candidate so far is one that the search asked for."""
        best = self.standing.progress.best
        return best is not None and best.origin is Origin.SEARCH


@dataclass(frozen=True)
class RecipeView:
    """A recipe as it is looked at: heat maps of its parameters, or the runs of a stack."""

    recipe: Recipe
    maps: tuple[HeatMap, ...]
    stack: tuple[tuple[str, str], ...]


def view_recipe(recipe: Recipe) -> RecipeView:
    """A recipe and its pictures."""
    return RecipeView(recipe, heat_maps(recipe), stacked_layers(recipe))


def read_live(store: SQLStore, standing: Standing, tables: Tables) -> Live:
    """Everything that a page about a search keeps fresh."""
    search, best = standing.search, standing.progress.best
    chosen = store.chosen(search.id, [best.id] if best else [])
    course = store.course(search.id)
    baselines = _baselines(chosen)
    mishaps = store.mishap_counts([search.id])
    results, cloud = tables.read(store, search, chosen), read_cloud(store, search, chosen)
    return Live(
        standing=standing,
        results=results,
        course=course,
        chart=_chart(course, baselines),
        fronts=_fronts(cloud),
        baselines=baselines,
        records=tuple(reversed(course.records[-12:])),
        meters=read_meters(store, standing, tables),
        busy=sum(standing.progress.counts[split].get("running", 0) for split in Split),
        mishaps=sum(mishaps.values()),
        seconds_left=_seconds_left(store, standing),
        verdict=_verdict(standing, results, cloud),
        notes=results.notes if results and standing.ended and not cloud else (),
    )


def _verdict(standing: Standing, results: Results | None, cloud: Cloud | None) -> str:
    if cloud is not None:
        return front_words(cloud)
    if results is None or results.winner is None:
        return ""
    return results.sentence if standing.ended else so_far(results)


def so_far(results: Results) -> str:
    """How the best candidate of a search stands that has not ended."""
    winner, rival = results.winner, results.best_baseline
    if winner is None or rival is None or rival.lead is None:
        return ""
    lead = rival.lead
    where = "ahead of" if lead.value >= 0 else "behind"
    sure = ""
    if lead.low is not None and lead.high is not None:
        sure = f" (95 % interval {signed(lead.low)} to {signed(lead.high)})"
    return (
        f"{winner.label[0].upper()}{winner.label[1:]} is {figure(abs(lead.value))} {where} "
        f"{rival.label}, the best baseline{sure}, on documents that the search climbs."
    )


def _seconds_left(store: SQLStore, standing: Standing) -> float | None:
    if not standing.moving or standing.phase in ("validation", "test"):
        return None
    pace = store.pace(standing.search.id)
    return max(0, standing.total - standing.done) / pace if pace else None


def _baselines(chosen: Chosen) -> tuple[tuple[str, float], ...]:
    found = {
        label_of(c): e.fitness
        for c, e in chosen
        if e.split is Split.SEARCH and e.fitness is not None and is_baseline(c)
    }
    return tuple(sorted(found.items(), key=lambda pair: -pair[1]))


def _chart(course: Course, baselines: Sequence[tuple[str, float]]) -> Drawing:
    points = points_of(course)
    return draw(partial(history_chart, points, baselines, sampled_from=course.candidates))


def points_of(course: Course) -> list[Point]:
    """The dots as the chart knows them, each with the best so far."""
    points: list[Point] = []
    best: float | None = None
    for dot in course.dots:
        if dot.feasible and not dot.dropped and (best is None or dot.fitness > best):
            best = dot.fitness
        label = f"candidate {dot.number}" + (f" ({dot.label})" if dot.label else "")
        points.append(Point(dot.number, label, dot.fitness, dot.feasible, dot.dropped, 0, best))
    return points


def _fronts(cloud: Cloud | None) -> tuple[Drawing, ...]:
    if cloud is None or not cloud.members:
        return ()
    pairs = pareto_pairs(list(cloud.members[0][1]))
    half = len(pairs) > 1
    return tuple(draw(partial(pareto_chart, cloud, *pair), half=half) for pair in pairs)


@dataclass(frozen=True)
class TimeView:
    """Where worker time went, in the latest evaluations. seconds: by what they were spent on."""

    seconds: Mapping[str, float]
    chart: Drawing
    window: Window

    @property
    def busy(self) -> float:
        """The share of the workers' time in which they had something to do."""
        total = sum(self.seconds.values())
        return 1 - self.seconds.get("waiting", 0.0) / total if total else 0.0


def view_time(window: Window) -> TimeView:
    """A window's worker time as one bar."""
    seconds = dict.fromkeys(_KINDS, 0.0)
    for worker in window.workers:
        for kind, spent in worker.seconds.items():
            seconds[kind] += spent
        seconds["other"] += max(0.0, worker.busy - sum(worker.seconds.values()))
        seconds["waiting"] += max(0.0, worker.present - worker.busy)
    shown = {kind: spent for kind, spent in seconds.items() if spent > 0}
    return TimeView(shown, draw(partial(cost_bar, shown)), window)
