"""Runs a kernel over whole tensors: fused where that is possible, else eagerly in chunks.

Fused means a compiled C loop on the CPU (`native`) and torch.compile (Triton) on a GPU. The eager
kernels are the definition; they run where there is no compiler, and for dtypes that the C loop does
not know. On the CPU both give the same bits.
"""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

from evomerge.errors import ResourceError
from evomerge.merging import native
from evomerge.merging.kernels import Step, Variant, make_step, pack_floats, pack_ints
from evomerge.merging.knobs import Scalars

EAGER_CHUNK = 1 << 16
"""Entries in one eager call: its temporaries stay in the second-level cache."""
SMALL = 4096
"""Entries below which a GPU tensor is not worth a compiled call."""

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
        self._native = native.Native()
        self._notify = notify or _log.info
        self.fused = self._decide(fused)

    def run(
        self, method: str, scalars: Scalars, base: Tensor | None, models: list[Tensor], out: Tensor
    ) -> bool:
        """Merge one tensor into `out` (contiguous, on the runner's device); whether it is finite."""
        signs = scalars.normalize and any(knobs.weight < 0 for knobs in scalars.models)
        variant = Variant(method, len(models), scalars.normalize, signs)
        floats = pack_floats(scalars.models, scalars.divisor, scalars.scale)
        base_P = None if base is None else base.reshape(-1)
        models_P = [model.reshape(-1) for model in models]
        out_P = out.detach().view(-1)
        peak = self._in_c(variant, scalars, base_P, models_P, out_P, floats)
        if peak is None:
            peak = self._torch(variant, scalars, base_P, models_P, out_P, floats)
        return peak <= torch.finfo(out.dtype).max

    def _in_c(
        self,
        variant: Variant,
        scalars: Scalars,
        base_P: Tensor | None,
        models_P: list[Tensor],
        out_P: Tensor,
        floats: Tensor,
    ) -> float | None:
        """The largest magnitude, or None where the C loop cannot be used."""
        tensors = [out_P, *models_P, *([] if base_P is None else [base_P])]
        if not self.fused or not native.supports(tensors):
            return None
        try:
            return self._native.run(variant, scalars, base_P, models_P, out_P, floats)
        except native.CannotCompile as error:
            self.fused = False
            self._notify(f"merging runs about 20 times slower, without compiled kernels: {error}")
            return None

    def _torch(
        self,
        variant: Variant,
        scalars: Scalars,
        base_P: Tensor | None,
        models_P: list[Tensor],
        out_P: Tensor,
        floats: Tensor,
    ) -> float:
        here = floats.to(self._device)
        compiled = self.fused and self._device.type != "cpu" and out_P.numel() >= SMALL
        step = self._step(variant, compiled)
        size = native.PIECE if compiled else self._chunk
        probes = []
        with torch.no_grad():
            for start in range(0, out_P.numel(), size):
                end = min(start + size, out_P.numel())
                base_C = None if base_P is None else self._here(base_P[start:end])
                models_C = [self._here(model_P[start:end]) for model_P in models_P]
                ints = pack_ints(scalars.models, start, end - start).to(self._device)
                index_C = None if compiled else self._index_C[: end - start]
                probes.append(step(base_C, models_C, out_P[start:end], here, ints, index_C))
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
        if self._device.type != "cpu" or native.compiler() is not None:
            return True
        if fused:
            raise ResourceError("no C compiler", remedy="install gcc or clang, or set CC")
        self._notify("no C compiler found (gcc, clang or $CC): merging runs about 20 times slower")
        return False
