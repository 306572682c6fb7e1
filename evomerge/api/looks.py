"""One look at a search for all who follow it: a hundred open pages cost what one does."""

import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Looks(Generic[T]):
    """What was seen of each key, good for `seconds`.

    Args:
        look: reads it anew. clock: for tests.
    """

    def __init__(
        self,
        look: Callable[[str], T],
        seconds: float = 1.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._look, self._seconds, self._clock = look, seconds, clock
        self._seen: dict[str, tuple[float, T]] = {}
        self._lock = threading.Lock()

    def at(self, key: str) -> T:
        """What was seen last, or a new look where that is too old."""
        with self._lock:
            found = self._seen.get(key)
        if found is not None and self._clock() - found[0] < self._seconds:
            return found[1]
        value = self._look(key)
        with self._lock:
            self._seen = {k: v for k, v in self._seen.items() if self._is_fresh(v[0])}
            self._seen[key] = (self._clock(), value)
        return value

    def _is_fresh(self, when: float) -> bool:
        return self._clock() - when < self._seconds
