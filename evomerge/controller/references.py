"""What an objective may refer to: the scores of the base and of the best expert on the search split."""

from collections.abc import Iterable

from evomerge.fitness import References, make_references
from evomerge.spec import SearchSpec
from evomerge.store.types import CandidateRecord, EvaluationRecord, Origin


def references_from(
    spec: SearchSpec, scored: Iterable[tuple[CandidateRecord, EvaluationRecord]]
) -> References:
    """The references, from those of the scored candidates that are baselines of a single model.

    Of several of one model the first counts. Without an expert they hold the base alone, without the
    base nothing.
    """
    by_model: dict[str, dict[str, float]] = {}
    for candidate, evaluation in scored:
        models = candidate.recipe.models or ()
        if candidate.origin is Origin.BASELINE and len(models) == 1:
            found = {task: score.value for task, score in evaluation.headlines.items()}
            by_model.setdefault(models[0].model, found)
    base = by_model.pop(spec.base_model, {})
    if not base or not by_model:
        return References(base)
    return make_references(spec.objective, base, list(by_model.values()))
