"""The fused pass in C: one loop that reads, trims, combines, rounds and writes, for the CPU.

torch.compile could fuse the same arithmetic, but takes 10 to 20 seconds for it, runs 2.3 times
slower here (its vectors hold masks as numbers) and costs 60 µs a call. A C compiler needs 0.2 s.
The arithmetic is the eager kernels', operation by operation, without contraction or reordering, so
both give the same bits. Source: `csource`. Compiled libraries are kept in the cache folder.
"""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evomerge.merging.csource import CODES, Loop, source
from evomerge.merging.kernels import Variant, pack_ints
from evomerge.merging.knobs import Scalars
from evomerge.resources import cache_folder

_FLAGS = ("-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC")
_NATIVE = ("-march=native", "-mprefer-vector-width=512")
PIECE = 1 << 30
"""Entries in one call at most; pieces are aligned, so that none crosses a multiple of 2^32."""
THREADED = 1 << 17
"""Entries below which a tensor is not worth a second thread."""


def compiler() -> str | None:
    """The C compiler: $CC, or the first of cc, gcc, clang."""
    names = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def supports(tensors: list[Tensor]) -> bool:
    """Whether the C loop reads and writes these dtypes on this device."""
    return all(x.dtype in CODES and x.device.type == "cpu" for x in tensors)


class CannotCompile(Exception):
    """The compiler, or the loader, refuses: merges then run eagerly."""


class Native:
    """Compiled loops and the threads that run them."""

    def __init__(self) -> None:
        self._pool: ThreadPoolExecutor | None = None

    def run(
        self,
        variant: Variant,
        scalars: Scalars,
        base: Tensor | None,
        models: list[Tensor],
        out: Tensor,
        floats: Tensor,
    ) -> float:
        """Merge one tensor (flat, contiguous) into `out`; the largest magnitude, NaN for none."""
        inputs = [x for x in (base, *models) if x is not None]
        call = _function(variant, tuple(x.dtype for x in inputs), out.dtype)
        spans = [
            span
            for start in range(0, out.numel(), PIECE)
            for span in self._spans(start, min(start + PIECE, out.numel()))
        ]

        def work(span: tuple[int, int]) -> float:
            start, end = span
            ints = pack_ints(scalars.models, start, end - start)
            places = [x.data_ptr() + start * x.itemsize for x in inputs]
            array = (ctypes.c_void_p * len(places))(*places)
            target = out.data_ptr() + start * out.itemsize
            return float(call(end - start, array, target, floats.data_ptr(), ints.data_ptr()))

        if len(spans) == 1:
            return work(spans[0])
        return float(torch.tensor(list(self._threads().map(work, spans))).amax())

    def _spans(self, start: int, end: int) -> list[tuple[int, int]]:
        parts = torch.get_num_threads() if end - start >= THREADED else 1
        edges = [start + (end - start) * part // parts // 64 * 64 for part in range(parts)]
        return list(zip(edges, [*edges[1:], end], strict=True))

    def _threads(self) -> ThreadPoolExecutor:
        if self._pool is None:
            self._pool = ThreadPoolExecutor(torch.get_num_threads(), "evomerge-merge")
        return self._pool


@cache
def _function(variant: Variant, inputs: tuple[torch.dtype, ...], out: torch.dtype) -> Any:
    file = _library(source(Loop.of(variant, inputs, out)))
    try:
        library = ctypes.CDLL(str(file))
    except OSError as error:
        raise CannotCompile(f"{file} cannot be loaded: {error}") from error
    library.run.restype = ctypes.c_float
    pointer = ctypes.c_void_p
    library.run.argtypes = [ctypes.c_int64, pointer, pointer, pointer, pointer]
    return library.run


def _library(text: str) -> Path:
    """The shared library for a source: from the cache, or compiled for this processor."""
    program = compiler()
    assert program is not None
    name = hashlib.sha256(f"{text}{_FLAGS}{_NATIVE}{_version(program)}{_processor()}".encode())
    file = cache_folder() / "kernels" / f"{name.hexdigest()[:32]}.so"
    if not file.exists():
        try:
            _compile(program, text, file)
        except OSError:
            file = Path(tempfile.mkdtemp(prefix="evomerge-")) / file.name
            _compile(program, text, file)
    return file


def _compile(program: str, text: str, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=file.parent) as folder:
        code, built = Path(folder) / "kernel.c", Path(folder) / "kernel.so"
        code.write_text(text)
        for flags in ((*_FLAGS, *_NATIVE), (*_FLAGS, "-mcpu=native"), _FLAGS):
            command = [program, *flags, str(code), "-o", str(built)]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode == 0:
                built.replace(file)
                return
    raise CannotCompile(f"{program}: {done.stderr.strip()[:300]}")


@cache
def _version(program: str) -> str:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return done.stdout


@cache
def _processor() -> str:
    """What -march=native depends on: homes are shared by machines with different processors."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        return platform.processor() + platform.machine()
