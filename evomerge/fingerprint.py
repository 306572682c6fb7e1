"""What is in a model's files, as one hash: an edited checkpoint is never taken for the one that was measured.

Models are known by their whole content; each large file's hash is remembered by its path, size and
time, so that it is read once.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from evomerge.layout import SIDE_FILES, CheckpointIndex, weight_files
from evomerge.resources import cache_folder

_WORTH_REMEMBERING = 64 << 20


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
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest(content: Any) -> str:
    """16 hex digits for anything that JSON can say."""
    listed = content if isinstance(content, list | dict) else list(content)
    text = json.dumps(listed, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
