"""C sources to loaded libraries: built by the system's compiler, kept in the cache folder."""

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from evomerge.resources import cache_folder

_FLAGS = (
    *("-O3", "-ffp-contract=off", "-fno-math-errno", "-fno-trapping-math", "-shared", "-fPIC"),
    # Loop bodies of 400 instructions are longer than what a processor looks ahead.
    "-fschedule-insns",
)
_NATIVE = ("-march=native", "-mprefer-vector-width=512")


class CannotCompile(Exception):
    """The compiler, or the loader, refuses: work then goes on without compiled code."""


def compiler() -> str | None:
    """The C compiler: $CC, or the first of cc, gcc, clang."""
    names = (os.environ.get("CC", ""), "cc", "gcc", "clang")
    return next((found for name in names if name and (found := shutil.which(name))), None)


def load(text: str) -> ctypes.CDLL:
    """The library built from a C source. Raises CannotCompile."""
    file = _library(text)
    try:
        return ctypes.CDLL(str(file))
    except OSError as error:
        raise CannotCompile(f"{file} cannot be loaded: {error}") from error


def _library(text: str) -> Path:
    """The shared library for a source: from the cache, or compiled for this processor."""
    program = compiler()
    if program is None:
        raise CannotCompile("no C compiler (gcc, clang or $CC)")
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
