"""Brings parts of mapped files into memory before they are read: one call instead of many page faults.

A fault every few pages is slow on virtual machines, and waits for the disk a little at a time. Where
the system does not know the call (before Linux 5.14, elsewhere), pages come when they are touched.
"""

import ctypes
import mmap
from functools import cache

_POPULATE_READ = 22
"""MADV_POPULATE_READ of linux/mman.h."""


def bring_in(mapped: mmap.mmap, start: int, end: int) -> None:
    """Read the bytes from `start` to `end` of a mapped file and map their pages."""
    _advise(mapped, start, end, _POPULATE_READ)


def let_go(mapped: mmap.mmap, start: int, end: int) -> None:
    """Unmap these pages; the file's cache keeps them, and they come back when they are touched."""
    _advise(mapped, start, end, mmap.MADV_DONTNEED)


def _advise(mapped: mmap.mmap, start: int, end: int, advice: int) -> None:
    advise = _madvise()
    if advise is None or end <= start:
        return
    address = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
    first = (address + start) // mmap.PAGESIZE * mmap.PAGESIZE
    advise(first, address + end - first, advice)


@cache
def _madvise() -> "ctypes._NamedFuncPointer | None":
    try:
        found = ctypes.CDLL(None).madvise
    except (OSError, AttributeError):
        return None
    found.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    return found
