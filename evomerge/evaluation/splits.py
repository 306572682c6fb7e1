"""Which split a document belongs to, from its content alone.

A document keeps its split when the task file grows, is sorted anew or is read by another version of
lm-eval, and two equal documents can never stand on both sides of a border.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from evomerge.fitness import Split, Splits

_SCALE = float(1 << 53)


def hash_position(document: Any) -> float:
    """Where the SHA-256 of the document's canonical JSON lies in [0, 1)."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), default=str)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
    return (int.from_bytes(digest[:8]) >> 11) / _SCALE


def split_documents(
    documents: Sequence[Mapping[str, Any]], splits: Splits, limit: int | None = None
) -> dict[Split, tuple[int, ...]]:
    """The numbers of the documents of each split, rising; at most `limit` in each."""
    found: dict[Split, list[int]] = {split: [] for split in Split}
    for number, document in enumerate(documents):
        found[splits.split_of(hash_position(document))].append(number)
    return {split: tuple(numbers[:limit]) for split, numbers in found.items()}
