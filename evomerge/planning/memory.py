"""What a worker holds: the engine's weights, cache and scratch, base and experts, and the runtime itself."""

from collections.abc import Sequence

from evomerge.planning.shape import ITEM_SIZES, ModelShape
from evomerge.planning.types import Machine, Memory, Workload
from evomerge.spec import SearchSpec

RUNTIME = 0.72e9
"""Of a process with vLLM, lm-eval and torch loaded, before it has a model; measured on a CPU."""
GPU_RUNTIME = 1.5e9
"""On each GPU: CUDA's context, and what libraries keep. Assumed, not measured by us."""
SCRATCH, PINNED_SHARE = 1 << 30, 0.5
"""Bytes on a GPU that merging works with, and the share of host memory that is pinned at most, as
`merging.placement` has them."""
_LIVE = 12
"""Copies of a step's hidden states that are alive at the same time, MLP's inner ones among them."""
_GIB = float(1 << 30)


def worker_memory(
    spec: SearchSpec,
    base: ModelShape,
    others: Sequence[ModelShape],
    work: Workload,
    machine: Machine,
) -> Memory:
    """Of one worker; on GPUs of all that its engine is spread over."""
    if spec.engine.name == "fake":
        return Memory(0.0, 0.0, 0.0, 0.1e9, 0.0, "mapped")
    size = item_size(spec, base)
    weights = float(base.parameters * size)
    models = float(base.stored + sum(shape.stored for shape in others))
    activations = _activations(spec, base, work, machine, size)
    if not machine.is_gpu:
        place = "device" if spec.engine.models_on == "device" else "mapped"
        cache = spec.engine.kv_cache_gib * _GIB
        return Memory(weights, cache, activations, RUNTIME, models, place)
    ranks = spec.engine.tensor_parallel_size
    held = machine.memory or 0.0
    reserved = spec.engine.gpu_memory_utilization * held * ranks
    cache = max(reserved - weights - activations, 0.0)
    free = (1 - spec.engine.gpu_memory_utilization) * held - GPU_RUNTIME
    place = _place(spec, models + SCRATCH <= free, models * ranks <= PINNED_SHARE * machine.host)
    kept = models if place == "mapped" else models * ranks
    return Memory(weights, cache, activations, GPU_RUNTIME * ranks, kept, place)


def cache_bytes(base: ModelShape, size: int, tokens: int) -> float:
    """Of keys and values of so many tokens, in all layers."""
    return float(base.layers * base.kv_width * size * tokens)


def item_size(spec: SearchSpec, base: ModelShape) -> int:
    """Bytes of an entry in the engine's dtype."""
    return ITEM_SIZES.get(engine_dtype(spec, base), 2)


def engine_dtype(spec: SearchSpec, base: ModelShape) -> str:
    """What the engine computes in; with `auto`, vLLM runs fp32 checkpoints in bf16 (seen in vLLM 0.32)."""
    if spec.engine.dtype != "auto":
        return spec.engine.dtype
    halved = spec.engine.name == "vllm" and base.dtype == "float32"
    return "bfloat16" if halved else base.dtype


def per_device(spec: SearchSpec, memory: Memory, machine: Machine) -> float | None:
    """Bytes on each GPU; None on a CPU."""
    if not machine.is_gpu:
        return None
    here = memory.weights + memory.cache + memory.activations + memory.runtime
    if memory.models_on == "device":
        here += memory.models + SCRATCH * spec.engine.tensor_parallel_size
    return here / spec.engine.tensor_parallel_size


def fits(
    spec: SearchSpec, base: ModelShape, memory: Memory, work: Workload, machine: Machine
) -> str | None:
    """What does not fit, and what would; None where all does."""
    if not machine.is_gpu or machine.memory is None:
        return None
    ranks = spec.engine.tensor_parallel_size
    longest = max(work.longest, 1)
    needed = cache_bytes(base, item_size(spec, base), longest)
    room = spec.engine.gpu_memory_utilization * machine.memory
    if memory.weights + memory.activations + needed <= room * ranks:
        return None
    enough = next(
        (n for n in (2, 4, 8, 16) if memory.weights + memory.activations + needed <= room * n), None
    )
    what = f"weights and the cache of one document take {(memory.weights + needed) / _GIB:.0f} GiB"
    have = f"{ranks} × {machine.memory / _GIB:.0f} GiB do not hold them"
    advice = f"set engine.tensor_parallel_size: {enough}" if enough else "choose larger GPUs"
    return f"{what}, {have}: {advice}"


def _activations(
    spec: SearchSpec, base: ModelShape, work: Workload, machine: Machine, size: int
) -> float:
    """A step's hidden states, and the log-probabilities that it gives, in fp32 with a copy."""
    tokens = min(machine.batch, max(work.read, 1))
    widest = max(base.hidden, *(side for pair in base.matrices for side in pair))
    rows = tokens if work.scored else min(spec.engine.max_num_seqs, max(work.prompts, 1))
    hidden = tokens * (widest * 2 + base.hidden * _LIVE) * size
    return float(hidden + rows * base.vocabulary * 4 * 2)


def _place(spec: SearchSpec, on_device: bool, in_host: bool) -> str:
    """As `merging.placement.choose` decides."""
    wanted = spec.engine.models_on
    if wanted != "auto":
        return wanted
    return "device" if on_device else "pinned" if in_host else "mapped"
