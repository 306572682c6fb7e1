"""What a report shows, read from the store once; everything here is plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from evomerge.fitness import Split
from evomerge.insight import Insight, read_insight
from evomerge.report.heatmap import HeatMap, heat_maps, stacked_layers
from evomerge.results import Results, is_baseline, label_of, read_results
from evomerge.store.api import Store
from evomerge.store.types import (
    AnyCandidate,
    EvaluationRecord,
    EvaluationStatus,
    SearchRecord,
)


@dataclass(frozen=True)
class Failure:
    """An evaluation that came to nothing."""

    label: str
    split: str
    attempts: int
    error: str


@dataclass(frozen=True)
class ReportData:
    """A search as a report shows it.

    stack: models and their layers from the first to the last, where the recipe stacks layers.
    baselines: names and fitness on the search split, best first. scored: evaluations of all splits
    that are complete; reused: those among them whose result was taken over from the same recipe.
    """

    search: SearchRecord
    results: Results
    insight: Insight
    recipe_yaml: str
    maps: tuple[HeatMap, ...]
    stack: tuple[tuple[str, str], ...]
    baselines: tuple[tuple[str, float], ...]
    scored: int
    reused: int
    failures: tuple[Failure, ...]

    @property
    def wall_seconds(self) -> float:
        """From submission to the last change; includes pauses."""
        return (self.search.updated_at - self.search.created_at).total_seconds()

    @property
    def created(self) -> datetime:
        return self.search.created_at

    @property
    def costs(self) -> Mapping[str, float]:
        """Seconds of all workers by what they were spent on, without what took none."""
        return {name: spent for name, spent in self.insight.spending.seconds.items() if spent > 0}


def gather(store: Store, search: SearchRecord) -> ReportData:
    """Everything a report shows."""
    results = read_results(store, search)
    candidates = {candidate.id: candidate for candidate in store.entrants(search.id)}
    evaluations = store.evaluations(search.id)
    scored = [e for e in evaluations if e.status is EvaluationStatus.SCORED]
    return ReportData(
        search=search,
        results=results,
        insight=read_insight(store, search),
        recipe_yaml=_yaml(results),
        maps=heat_maps(results.recipe) if results.recipe else (),
        stack=stacked_layers(results.recipe) if results.recipe else (),
        baselines=_baselines(candidates, scored),
        scored=len(scored),
        reused=sum(e.copied_from is not None for e in scored),
        failures=_failures(candidates, evaluations),
    )


def _yaml(results: Results) -> str:
    if results.recipe is None:
        return ""
    from evomerge.merging.mergekit_yaml import dump_recipe

    return dump_recipe(results.recipe)


Candidates = Mapping[int, AnyCandidate]


def _baselines(
    candidates: Candidates, scored: Sequence[EvaluationRecord]
) -> tuple[tuple[str, float], ...]:
    found = [
        (label_of(candidates[e.candidate_id]), e.fitness)
        for e in scored
        if e.split is Split.SEARCH
        and e.fitness is not None
        and is_baseline(candidates[e.candidate_id])
    ]
    return tuple(sorted(found, key=lambda pair: -pair[1]))


def _failures(
    candidates: Candidates, evaluations: Sequence[EvaluationRecord]
) -> tuple[Failure, ...]:
    return tuple(
        Failure(label_of(candidates[e.candidate_id]), e.split.value, e.attempts, e.error or "?")
        for e in evaluations
        if e.status is EvaluationStatus.FAILED
    )
