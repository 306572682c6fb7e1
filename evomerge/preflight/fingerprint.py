"""What a score depends on besides the recipe, as one hash: the scope within which scores are reused."""

from collections.abc import Iterable
from typing import Any

from evomerge.fingerprint import digest, fingerprint
from evomerge.spec import SearchSpec

_WITHOUT_EFFECT = {"gpu_memory_utilization", "models_on", "rank_memory_gib", "fake_seconds"}
"""Settings of an engine that change no score."""
_NO_SCORES = {"tasks", "include_path", "goal", "custom"}
"""Fields of an objective that tasks' scores do not depend on, or that are known by their content."""


def scope(
    spec: SearchSpec, models: dict[str, str], tasks: Iterable[Any], versions: dict[str, str]
) -> str:
    """The scope of a search: in equal scopes a recipe has the same score.

    Args:
        models: `{name in recipes: fingerprint}`.
        tasks: what identifies the tasks and their documents.
        versions: of everything that computes scores.
    """
    # As the store will give it back: a default of 1 is 1.0 there.
    spec = SearchSpec.model_validate_json(spec.model_dump_json())
    objective = spec.objective.model_dump(mode="json", exclude=_NO_SCORES)
    metrics = sorted((task.task, str(task.metric)) for task in spec.objective.tasks)
    engine = spec.engine.model_dump(mode="json", exclude=_WITHOUT_EFFECT)
    threads = [spec.workers.cpus, spec.workers.gpus]
    parts = [sorted(models.items()), objective, metrics, list(tasks), engine, threads, versions]
    return digest(parts)


__all__ = ["digest", "fingerprint", "scope"]
