"""Scores the baselines, which also give every objective its references and the search its start."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from evomerge.controller.baselines import Baseline, GreedySoup, fixed_baselines, plain_soups
from evomerge.controller.events import Listener, PhaseStarted
from evomerge.controller.ledger import Ledger, rank_key
from evomerge.controller.references import references_from
from evomerge.errors import EvaluationError
from evomerge.fitness import References, Split
from evomerge.store.types import CandidateRecord, EvaluationRecord, EvaluationStatus, Origin


@dataclass(frozen=True)
class ScoredBaseline:
    """A baseline with its place in the store and its result on the search split."""

    baseline: Baseline
    candidate: CandidateRecord
    evaluation: EvaluationRecord


def score_baselines(ledger: Ledger, listener: Listener, seed: int) -> list[ScoredBaseline]:
    """All baselines, scored: the fixed ones first, then the greedy soup's trials and result."""
    spec = ledger.search.spec
    fixed = fixed_baselines(spec.base_model, spec.models, dtype=spec.out_dtype, seed=seed)
    listener(PhaseStarted("baselines", len(fixed) + len(spec.models)))
    scored = _score_first(ledger, fixed)
    (soup,) = _score(ledger, [_greedy_soup(ledger, scored)])
    return [*scored, soup]


def score_soup(ledger: Ledger, listener: Listener) -> list[ScoredBaseline]:
    """A greedy soup as the one candidate of a search; returns the baselines beside it."""
    spec = ledger.search.spec
    plain = plain_soups(spec.base_model, spec.models, dtype=spec.out_dtype)
    listener(PhaseStarted("baselines", len(plain) + len(spec.models) - 1))
    scored = _score_first(ledger, plain)
    soup = _greedy_soup(ledger, scored)
    listener(PhaseStarted("search", 1))
    _score(ledger, [soup], Origin.SEARCH)
    return scored


def best_baseline(scored: Sequence[ScoredBaseline]) -> Baseline:
    """The best one on the search split."""
    return max(scored, key=lambda row: rank_key(row.evaluation)).baseline


def _score_first(ledger: Ledger, fixed: Sequence[Baseline]) -> list[ScoredBaseline]:
    """Score the baselines from which the references of the objective come, then grade them."""
    scored = _score(ledger, fixed)
    ledger.references = _references(ledger, scored)
    graded = ledger.grade([row.evaluation for row in scored])
    return [replace(row, evaluation=e) for row, e in zip(scored, graded, strict=True)]


def _score(
    ledger: Ledger, baselines: Sequence[Baseline], origin: Origin = Origin.BASELINE
) -> list[ScoredBaseline]:
    new = [
        ledger.new(baseline.recipe, place, origin, label=baseline.label)
        for place, baseline in enumerate(baselines)
    ]
    candidates = ledger.add(new)
    evaluations = ledger.finish(candidates, Split.SEARCH)
    return [ScoredBaseline(*row) for row in zip(baselines, candidates, evaluations, strict=True)]


def _references(ledger: Ledger, scored: Sequence[ScoredBaseline]) -> References:
    singles = scored[: 1 + len(ledger.search.spec.models)]
    for row in singles:
        if row.evaluation.status is not EvaluationStatus.SCORED:
            raise EvaluationError(
                f"the {row.baseline.label} model itself cannot be scored: {row.evaluation.error}",
                remedy="score it with lm-eval alone to see why; a search compares against it",
            )
    return references_from(ledger.search.spec, [(row.candidate, row.evaluation) for row in singles])


def _greedy_soup(ledger: Ledger, scored: Sequence[ScoredBaseline]) -> Baseline:
    """The soup that is left when every expert was tried; base and experts come first in `scored`."""
    spec = ledger.search.spec
    experts = zip(spec.models, scored[1:], strict=False)
    ranked = sorted(experts, key=lambda pair: rank_key(pair[1].evaluation))[::-1]
    greedy = GreedySoup(
        spec.base_model,
        [model for model, _ in ranked],
        rank_key(ranked[0][1].evaluation),
        spec.out_dtype,
    )
    while (trial := greedy.next_trial()) is not None:
        (row,) = _score(ledger, [trial])
        greedy.tell(rank_key(row.evaluation))
    return greedy.result()
