"""What a score depends on besides the recipe, as one hash: the scope within which scores are reused.

Models are known by their whole content, so that an edited checkpoint is never taken for the one that
was scored; each file's hash is remembered by its path, size and time, so that it is read once.
"""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from evomerge.layout import SIDE_FILES, CheckpointIndex, weight_files
from evomerge.resources import cache_folder
from evomerge.spec import SearchSpec

_CHUNK = 1 << 22
_WORTH_REMEMBERING = 64 << 20
_WITHOUT_EFFECT = {"gpu_memory_utilization", "models_on", "fake_seconds"}
"""Settings of an engine that change no score."""
_NO_SCORES = {"tasks", "include_path", "goal", "custom"}
"""Fields of an objective that tasks' scores do not depend on, or that are known by their content."""


def fingerprint(index: CheckpointIndex) -> str:
    """16 hex digits for the content of a checkpoint and its adapter, wherever they lie."""
    if index.parts:
        return digest(fingerprint(part) for part in index.parts)
    extras = [index.path / name for name in SIDE_FILES]
    files = [*weight_files(index.path), *(extra for extra in extras if extra.is_file())]
    return digest((file.name, content_hash(file)) for file in files)


def content_hash(file: Path) -> str:
    """SHA-256 of a file, remembered in the cache folder where hashing takes a while."""
    status = file.stat()
    if status.st_size < _WORTH_REMEMBERING:
        return _hash(file)
    key = digest([str(file.resolve()), status.st_size, status.st_mtime_ns])
    note = cache_folder() / "hashes" / key
    if note.is_file() and (known := note.read_text(encoding="ascii")):
        return known
    found = _hash(file)
    remember(note, found)
    return found


def remember(note: Path, text: str) -> None:
    """Write a note into the cache; one that cannot be written only costs time later."""
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        draft = note.with_suffix(".draft")
        draft.write_text(text, encoding="ascii")
        draft.replace(note)
    except OSError:
        return


def _hash(file: Path) -> str:
    total = hashlib.sha256()
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            total.update(chunk)
    return total.hexdigest()


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


def digest(content: Any) -> str:
    """16 hex digits for anything that JSON can say."""
    listed = content if isinstance(content, list | dict) else list(content)
    text = json.dumps(listed, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
