"""What is measured once for a pair of tensors and used by every candidate; kept on disk.

Tables lie in the user's cache folder under a key made of the files' paths, sizes and modification
times, so a changed checkpoint is measured again. Files are written whole or not at all; one that
cannot be read is made again.
"""

import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evomerge.resources import cache_folder

_VERSION = 3
_RECENT = 20_000


class StatisticsCache:
    """Arrays by key: in memory, then on disk, then computed.

    Args:
        folder: where files are kept; None for `cache_folder() / "merging"`.
        on_disk: False keeps everything in memory.
    """

    def __init__(self, folder: Path | None = None, on_disk: bool = True) -> None:
        self._folder = folder or cache_folder() / "merging"
        self._on_disk = on_disk
        self._memory: dict[str, NDArray[Any]] = {}
        self._recent: dict[tuple[object, ...], NDArray[Any]] = {}

    def get(self, parts: tuple[object, ...], compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """The array named by `parts`; `compute` makes it where it is not known yet."""
        key = hashlib.sha256(repr((_VERSION, *parts)).encode()).hexdigest()[:32]
        found = self._memory.get(key)
        if found is None:
            found = self._memory[key] = self._load(key, compute)
        return found

    def remember(
        self, parts: tuple[object, ...], compute: Callable[[], NDArray[Any]]
    ) -> NDArray[Any]:
        """The same without the disk: for small things that are soon worked out again."""
        found = self._recent.get(parts)
        if found is None:
            if len(self._recent) >= _RECENT:
                self._recent.clear()
            found = self._recent[parts] = compute()
        return found

    def _load(self, key: str, compute: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        if not self._on_disk:
            return compute()
        file = self._folder / key[:2] / f"{key}.npy"
        try:
            loaded: NDArray[Any] = np.load(file, allow_pickle=False)
            return loaded
        except (OSError, ValueError, EOFError):
            array = compute()
        _save(file, array)
        return array


def _save(file: Path, array: NDArray[Any]) -> None:
    # A cache that cannot be written (full disk, read-only home) only costs time.
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
    except OSError:
        return
    try:
        with os.fdopen(handle, "wb") as stream:
            np.save(stream, array, allow_pickle=False)
        Path(name).replace(file)
    except OSError:
        Path(name).unlink(missing_ok=True)
