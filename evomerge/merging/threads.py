"""Spans of one tensor on several threads. C calls let go of the interpreter, so threads are enough.

How many is torch's business (`torch.set_num_threads`, OMP_NUM_THREADS): the merge shares its cores.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from typing import TypeVar

import torch

WORTHWHILE = 1 << 17
"""Entries below which a tensor is not worth a second thread."""
Span = tuple[int, int]
Item = TypeVar("Item")
Result = TypeVar("Result")


def even_spans(count: int, multiple: int = 64) -> list[Span]:
    """`count` entries cut into as many spans as threads, at multiples of `multiple`."""
    parts = torch.get_num_threads() if count >= WORTHWHILE else 1
    edges = [count * part // parts // multiple * multiple for part in range(parts)]
    return [(a, b) for a, b in zip(edges, [*edges[1:], count], strict=True) if a < b]


def run_all(work: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
    """`work` on every item, on threads where there are several; results in the order of the items."""
    if len(items) <= 1:
        return [work(item) for item in items]
    return list(_pool(torch.get_num_threads()).map(work, items))


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(threads, "evomerge-merge")
