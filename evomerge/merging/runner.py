"""Runs a method over whole tensors: fused where that is possible, else eagerly in chunks.

Fused means a compiled C loop on the CPU (`native`) and torch.compile (Triton) on a GPU. The eager
kernels are the definition; they run where there is no compiler, and for dtypes that the C loop does
not know. On the CPU both give the same bits.
"""

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from evomerge.errors import ResourceError
from evomerge.merging import native
from evomerge.merging.compiler import CannotCompile, compiler
from evomerge.merging.kernels import Step, Variant, make_step, pack_floats, pack_ints
from evomerge.merging.knobs import Scalars
from evomerge.merging.native import Job
from evomerge.merging.plan import TensorPlan
from evomerge.methods import Method, Tensors

EAGER_CHUNK = 1 << 16
"""Entries in one eager call: its temporaries stay in the second-level cache."""
SMALL = 4096
"""Entries below which a GPU tensor is not worth a compiled call."""
PIECE = 1 << 30
"""Entries in one compiled call at most."""

_log = logging.getLogger("evomerge.merging")


class Runner:
    """Chooses between fused and eager kernels and keeps the compiled ones.

    Args:
        fused: False never compiles, True insists, None compiles where there is a compiler.
        chunk: entries in one eager call, a power of two.
    """

    def __init__(
        self,
        device: torch.device,
        fused: bool | None = None,
        notify: Callable[[str], None] | None = None,
        chunk: int = EAGER_CHUNK,
    ) -> None:
        if chunk & (chunk - 1):
            raise ValueError(f"a chunk is a power of two, not {chunk}")
        self._device = device
        self._chunk = chunk
        self._index_C = torch.arange(chunk, dtype=torch.int32, device=device)
        self._steps: dict[tuple[Variant, bool], Step] = {}
        self._refused: set[Variant] = set()
        self._notify = notify or _log.info
        self.fused = self._decide(fused)

    def run(
        self, method: str, scalars: Scalars, base: Tensor | None, models: list[Tensor], out: Tensor
    ) -> bool:
        """Merge one tensor into `out` (contiguous, on the runner's device); whether it is finite."""
        if scalars.lines is not None:
            return self._by_lines(scalars, base, models, out)
        signs = scalars.normalize and any(knobs.weight < 0 for knobs in scalars.models)
        variant = Variant(
            method, base is not None, scalars.selects, scalars.normalize, signs, scalars.vote
        )
        job = Job(
            variant,
            scalars.models,
            None if base is None else base.reshape(-1),
            [model.reshape(-1) for model in models],
            scalars.masks or (None,) * len(models),
            out.detach().view(-1),
            pack_floats(scalars.models, scalars.divisor, scalars.scale),
        )
        peak = self._in_c(job)
        if peak is None:
            peak = self._torch(job)
        return peak <= torch.finfo(out.dtype).max

    def compute(
        self,
        method: Method,
        plan: TensorPlan,
        base: Tensor | None,
        models: Sequence[Tensor],
        out: Tensor,
    ) -> bool:
        """The same for a method with arithmetic of its own."""
        flat = out.detach().view(-1)
        size = self._chunk if method.entrywise else max(flat.numel(), 1)
        given = [x for x in (base, *models) if x is not None]
        finite = True
        with torch.no_grad():
            for start in range(0, flat.numel(), size):
                parts = [
                    x.reshape(-1)[start : start + size] if method.entrywise else x for x in given
                ]
                wide = [self._here(x).float() for x in parts]
                origin = None if base is None else wide[0]
                own = wide if base is None else wide[1:]
                assert method.compute is not None
                found = method.compute(
                    Tensors(origin, own, plan.values, plan.own, plan.layout.name)
                )
                target = flat[start : start + size]
                target.copy_(found.reshape(-1))
                finite &= bool(target.isfinite().all())
        return finite

    def _by_lines(
        self, scalars: Scalars, base: Tensor | None, models: list[Tensor], out: Tensor
    ) -> bool:
        """A weighted sum with a weight for each row or column."""
        assert scalars.lines is not None and scalars.axis is not None
        weights = torch.from_numpy(scalars.lines).float().to(self._device)
        shape = out.shape or torch.Size([1])
        with torch.no_grad():
            total = None
            origin = None if base is None else self._here(base).float().view(shape)
            for number, model in enumerate(models):
                part = self._here(model).float().view(shape)
                part = part if origin is None else part - origin
                moved = part.movedim(scalars.axis, -1).reshape(-1, shape[scalars.axis])
                term = moved * weights[:, number : number + 1]
                total = term if total is None else total + term
            assert total is not None
            bare = [side for axis, side in enumerate(shape) if axis != scalars.axis % len(shape)]
            back = total.view(*bare, shape[scalars.axis]).movedim(-1, scalars.axis)
            out.copy_((back if origin is None else origin + back).view(out.shape))
        return bool(out.isfinite().all())

    def _in_c(self, job: Job) -> float | None:
        """The largest magnitude, or None where the C loop cannot be used."""
        if not self.fused or job.variant in self._refused or not native.supports(job):
            return None
        try:
            return native.run(job)
        except CannotCompile as error:
            self._refused.add(job.variant)
            self._notify(f"merging runs about 20 times slower, without compiled kernels: {error}")
            return None

    def _torch(self, job: Job) -> float:
        here = job.floats.to(self._device)
        compiled = self.fused and self._device.type != "cpu" and job.out.numel() >= SMALL
        step = self._step(job.variant, compiled)
        size = PIECE if compiled else self._chunk
        probes = []
        with torch.no_grad():
            for start in range(0, job.out.numel(), size):
                end = min(start + size, job.out.numel())
                base_C = None if job.base is None else self._here(job.base[start:end])
                models_C = [self._here(model_P[start:end]) for model_P in job.models]
                masks_C = [None if x is None else self._here(x[start:end]) for x in job.masks]
                ints = pack_ints(job.knobs, start, end - start).to(self._device)
                index_C = None if compiled else self._index_C[: end - start]
                out_C = job.out[start:end]
                probes.append(step(base_C, models_C, masks_C, out_C, here, ints, index_C))
            return float(torch.stack(probes).amax())

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, non_blocking=True)

    def _step(self, variant: Variant, compiled: bool) -> Step:
        key = (variant, compiled)
        if key not in self._steps:
            step = make_step(variant)
            self._steps[key] = (
                torch.compile(step, dynamic=True, fullgraph=True) if compiled else step
            )
        return self._steps[key]

    def _decide(self, fused: bool | None) -> bool:
        if fused is False:
            return False
        if self._device.type != "cpu" or compiler() is not None:
            return True
        if fused:
            raise ResourceError("no C compiler", remedy="install gcc or clang, or set CC")
        self._notify("no C compiler found (gcc, clang or $CC): merging runs about 20 times slower")
        return False
