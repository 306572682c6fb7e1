"""Which device a merge computes on: names checked before anything is read."""

import torch

from evomerge.errors import ResourceError, UsageError


def choose_device(name: str, where: str = "device") -> str:
    """`name` if this machine has it; `auto` is the GPU where there is one, else the CPU."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(
            f"no such device: {name!r}", where=where, remedy="write cpu, cuda, cuda:1 or auto"
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        count = torch.cuda.device_count()
        raise ResourceError(
            f"this machine has {count} usable GPUs", where=where, remedy="leave it out, or use auto"
        )
    return str(device)


def describe_gpus() -> str | None:
    """Number, name and memory of the GPUs torch can use; None where there are none."""
    if not torch.cuda.is_available():
        return None
    first = torch.cuda.get_device_properties(0)
    return f"{torch.cuda.device_count()} × {first.name}, {first.total_memory / 2**30:.0f} GiB"


def use_threads(count: int) -> None:
    """Let torch compute with so many threads."""
    torch.set_num_threads(count)
