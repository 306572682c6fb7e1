"""Imports a library without what it only looks for: a controller should hold what it uses.

`cma` works without matplotlib and scipy.stats and says so, but imports both where they are installed: most of
a second of the processor and 75 MB for every controller, of which one machine runs many.
"""

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType


class _Refusal:
    """A finder that knows some modules not to be there, for one thread alone."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names, self._thread = names, threading.get_ident()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """The import system's question: refused, or left to the next finder."""
        del path, target
        if name in self._names and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"{name} is left out", name=name)
        return None


@contextmanager
def leaving_out(*names: str) -> Iterator[None]:
    """Within the block and in this thread, modules of these names are as if not installed.

    One that was imported before stays; others import it as ever, later too.
    """
    refusal = _Refusal(names)
    sys.meta_path.insert(0, refusal)
    try:
        yield
    finally:
        sys.meta_path.remove(refusal)
