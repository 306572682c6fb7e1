"""What candidates have in common in methods with arithmetic of their own: kept, as far as there is room."""

from collections.abc import Callable
from typing import Any

ROOM = 2 << 30
"""Bytes of tensors that are kept for the life of a source."""
_RECENT = 2


class Shared:
    """Two memories: one for life, and one for what the next tensors may need again.

    What finds no room for life is worked out each time; nothing is thrown out for it, as tensors come
    round in one order again and again.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._left = room
        self._kept: dict[tuple[object, ...], Any] = {}
        self._recent: dict[tuple[object, ...], Any] = {}

    def keep(self, key: tuple[object, ...], make: Callable[[], Any]) -> Any:
        """The tensor by that key; made the first time, or each time where there is no room."""
        if key in self._kept:
            return self._kept[key]
        made = make()
        if made.nbytes <= self._left:
            self._left -= made.nbytes
            self._kept[key] = made
        return made

    def recent(self, key: tuple[object, ...], make: Callable[[], Any]) -> Any:
        """The same for anything; only the last few are remembered."""
        if key not in self._recent:
            made = make()
            while len(self._recent) >= _RECENT:
                del self._recent[next(iter(self._recent))]
            self._recent[key] = made
        return self._recent[key]
