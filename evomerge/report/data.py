"""What a report shows, read from the store once; everything here is plain values."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from evomerge.fitness import Costs, Split
from evomerge.report.heatmap import HeatMap, heat_maps
from evomerge.results import Results, is_baseline, label_of, read_results
from evomerge.store.api import Store
from evomerge.store.types import (
    CandidateRecord,
    EvaluationRecord,
    EvaluationStatus,
    Origin,
    SearchRecord,
)


@dataclass(frozen=True)
class Point:
    """One candidate of the search in the order it was asked for."""

    number: int
    label: str
    fitness: float
    feasible: bool


@dataclass(frozen=True)
class Failure:
    """An evaluation that came to nothing."""

    label: str
    split: str
    attempts: int
    error: str


@dataclass(frozen=True)
class ReportData:
    search: SearchRecord
    results: Results
    recipe_yaml: str
    maps: tuple[HeatMap, ...]
    history: tuple[Point, ...]
    baselines: tuple[tuple[str, float], ...]
    """Names and fitness on the search split, best first."""
    costs: Mapping[str, float]
    """Seconds of all workers by what they were spent on."""
    tokens: int
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


def gather(store: Store, search: SearchRecord) -> ReportData:
    """Everything a report shows."""
    results = read_results(store, search)
    candidates = {candidate.id: candidate for candidate in store.candidates(search.id)}
    evaluations = store.evaluations(search.id)
    own = [e for e in evaluations if e.copied_from is None and e.costs is not None]
    return ReportData(
        search=search,
        results=results,
        recipe_yaml=_yaml(results),
        maps=heat_maps(results.recipe) if results.recipe else (),
        history=_history(candidates, evaluations),
        baselines=_baselines(candidates, evaluations),
        costs=_costs([e.costs for e in own if e.costs]),
        tokens=sum(e.costs.tokens for e in own if e.costs),
        scored=sum(e.status is EvaluationStatus.SCORED for e in evaluations),
        reused=sum(e.copied_from is not None for e in evaluations),
        failures=_failures(candidates, evaluations),
    )


def _yaml(results: Results) -> str:
    if results.recipe is None:
        return ""
    from evomerge.merging.mergekit_yaml import dump_recipe

    return dump_recipe(results.recipe)


Candidates = Mapping[int, CandidateRecord]


def _history(candidates: Candidates, evaluations: Sequence[EvaluationRecord]) -> tuple[Point, ...]:
    pairs = [(candidates[e.candidate_id], e) for e in evaluations if e.split is Split.SEARCH]
    return tuple(
        Point(c.number, label_of(c), e.fitness, not e.violation)
        for c, e in sorted(pairs, key=lambda pair: pair[0].number)
        if c.origin is Origin.SEARCH and e.fitness is not None
    )


def _baselines(
    candidates: Candidates, evaluations: Sequence[EvaluationRecord]
) -> tuple[tuple[str, float], ...]:
    found = [
        (label_of(candidates[e.candidate_id]), e.fitness)
        for e in evaluations
        if e.split is Split.SEARCH
        and e.fitness is not None
        and is_baseline(candidates[e.candidate_id])
    ]
    return tuple(sorted(found, key=lambda pair: -pair[1]))


def _costs(costs: Sequence[Costs]) -> dict[str, float]:
    names = [f.name for f in fields(Costs) if f.name.endswith("_seconds")]
    return {n.removesuffix("_seconds"): sum(getattr(cost, n) for cost in costs) for n in names}


def _failures(
    candidates: Candidates, evaluations: Sequence[EvaluationRecord]
) -> tuple[Failure, ...]:
    return tuple(
        Failure(label_of(candidates[e.candidate_id]), e.split.value, e.attempts, e.error or "?")
        for e in evaluations
        if e.status is EvaluationStatus.FAILED
    )
