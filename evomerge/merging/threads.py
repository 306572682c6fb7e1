"""Spans of one tensor on several threads. C calls let go of the interpreter, so threads are enough.

How many is torch's business (`torch.set_num_threads`, OMP_NUM_THREADS): the merge shares its cores.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from functools import cache
from threading import local
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

WORTHWHILE = 1 << 17
"""Entries below which a tensor is not worth a second thread."""
Span = tuple[int, int]
Finish = Callable[[], None]
"""Waits for work that was begun, and raises its error."""
Item = TypeVar("Item")
Result = TypeVar("Result")
_own = local()


def even_spans(count: int, multiple: int = 64) -> list[Span]:
    """`count` entries cut into as many spans as threads, at multiples of `multiple`."""
    parts = torch.get_num_threads() if count >= WORTHWHILE else 1
    edges = [count * part // parts // multiple * multiple for part in range(parts)]
    return [(a, b) for a, b in zip(edges, [*edges[1:], count], strict=True) if a < b]


def run_all(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`work` on every item, on threads where there are several; results in the order of the items.

    Work that comes from one of these threads stays on it.
    """
    return start_all(work, items)()


def start_all(work: Callable[[Item], Result], items: Sequence[Item]) -> Callable[[], list[Result]]:
    """The same, begun: what is returned waits for all of it. Work that has no second thread is done."""
    if len(items) <= 1 or getattr(_own, "busy", False):
        done = [work(item) for item in items]
        return lambda: done

    def marked(item: Item) -> Result:
        _own.busy = True
        try:
            return work(item)
        finally:
            _own.busy = False

    pool = _pool(torch.get_num_threads())
    futures = [pool.submit(marked, item) for item in items]

    def finish() -> list[Result]:
        wait(futures)
        return [future.result() for future in futures]

    return finish


class OneAhead:
    """A context in which each piece of work ends after the next one has begun, and the last at its end.

    So threads have something to do while the next piece's numbers are looked up. Where one fails, what
    was begun after it is waited for, and its error is raised.
    """

    def __init__(self) -> None:
        self._finish: Finish = _nothing

    def __enter__(self) -> "OneAhead":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(*[] if kind is None else [Exception]):
            self._finish()

    def then(self, finish: Finish) -> None:
        """One more that was begun; `finish` waits for it."""
        before, self._finish = self._finish, finish
        before()


def _nothing() -> None:
    """Nothing was begun."""


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "evomerge-merge")


def scratch(name: str, count: int, dtype: type[np.generic]) -> NDArray[Any]:
    """Memory of this thread by that name, used again by the next call: [count], not initialised.

    Fresh memory costs a page fault every 4 KB, which on virtual machines is dearer than the work.
    """
    kept: dict[str, NDArray[Any]] = _own.__dict__
    key = f"{name} {dtype.__name__}"
    if key not in kept or len(kept[key]) < count:
        kept[key] = np.zeros(0, dtype)  # let go of the old one before there is a new one
        kept[key] = np.empty(count, dtype)
    return kept[key][:count]
