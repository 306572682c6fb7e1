"""Machines to plan for: GPUs by name, from their makers' data sheets; this machine, by measuring it.

Peaks of the sheets are for dense bf16 products and for memory. What a model reaches of them is
assumed, not measured by us: 40 % of the products while prompts are read, 60 % of the memory's speed.
"""

from collections.abc import Sequence

from evomerge.errors import NotFoundError, did_you_mean
from evomerge.planning.types import Machine

REACHED_FLOPS, REACHED_BANDWIDTH = 0.4, 0.6
_GIB = 1 << 30
_SHEETS = {
    # name: bf16 TFLOP/s dense, GB/s of memory, GiB, GB/s of PCIe in one direction, source
    "A10": (125, 600, 24, 32, "NVIDIA A10 data sheet"),
    "A100-40GB": (312, 1555, 40, 32, "NVIDIA A100 data sheet, SXM"),
    "A100-80GB": (312, 2039, 80, 32, "NVIDIA A100 data sheet, SXM"),
    "H100": (989, 3350, 80, 64, "NVIDIA H100 data sheet, SXM"),
    "H200": (989, 4800, 141, 64, "NVIDIA H200 data sheet, SXM"),
    "L4": (121, 300, 24, 32, "NVIDIA L4 data sheet"),
    "L40S": (362, 864, 48, 32, "NVIDIA L40S data sheet"),
    "RTX4090": (165, 1008, 24, 32, "NVIDIA Ada whitepaper"),
}
_LARGE = 70
"""GiB from which on vLLM reads twice as many tokens in a step, but for an A100."""
_PINNED_SHARE = 0.75
"""Of PCIe's peak that copies from pinned memory reach."""


def gpu_names() -> Sequence[str]:
    """Every GPU that is known."""
    return tuple(_SHEETS)


def find_gpu(name: str) -> Machine:
    """The GPU of that name; the largest where a name fits several. Raises NotFoundError."""
    asked = name.upper().replace(" ", "").replace("-", "").replace("_", "")
    fitting = [known for known in _SHEETS if known.upper().replace("-", "").startswith(asked)]
    if not asked or not fitting:
        known = list(_SHEETS)
        raise NotFoundError(
            f"no GPU named {name!r} in the table",
            where="--gpu",
            remedy=f"{did_you_mean(name, known)}; or give its memory with --gib",
        )
    exact = [known for known in fitting if known.upper().replace("-", "") == asked]
    return _machine((exact or fitting)[-1])


def gpu_of_size(gib: float) -> Machine:
    """A GPU that is known by its memory alone: the slowest of the table that has as much."""
    by_size = sorted(_SHEETS, key=lambda name: (_SHEETS[name][2], _SHEETS[name][0]))
    name = next((known for known in by_size if _SHEETS[known][2] >= gib), by_size[-1])
    like = _machine(name)
    return Machine(
        **{
            **vars(like),
            "name": f"a GPU of {gib:g} GiB",
            "memory": gib * _GIB,
            "source": f"speed as of {name}: {like.source}",
        }
    )


def _machine(name: str) -> Machine:
    tflops, bandwidth, gib, link, source = _SHEETS[name]
    large = gib >= _LARGE and not name.startswith("A100")
    return Machine(
        name=name,
        flops=tflops * 1e12 * REACHED_FLOPS,
        bandwidth=bandwidth * 1e9 * REACHED_BANDWIDTH,
        memory=gib * _GIB,
        link=link * 1e9 * _PINNED_SHARE,
        batch=16384 if large else 8192,
        measured=False,
        source=source,
    )
