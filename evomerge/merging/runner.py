"""Runs a kernel over whole tensors: eagerly in chunks, or compiled in one fused loop.

Compiling takes 10 to 20 seconds once (torch keeps the result on disk), so it is for models where a
candidate would otherwise cost more than a moment.
"""

import logging
import shutil
from collections.abc import Callable

import torch
from torch import Tensor

from evomerge.merging.kernels import Step, Variant, make_step, pack_floats, pack_ints
from evomerge.merging.knobs import Scalars

COMPILE_FROM = 20_000_000
"""Parameters from which compiling pays."""
SMALL = 4096
"""Tensors below this run eagerly: a compiled call costs more than they do."""
EAGER_CHUNK = 1 << 16
LONGEST = 1 << 30
"""Entries in one compiled call; indices in it are int32."""

_log = logging.getLogger("evomerge.merging")


class Runner:
    """Chooses between eager and compiled kernels and keeps the compiled ones."""

    def __init__(
        self,
        device: torch.device,
        compiled: bool | None,
        parameters: int,
        notify: Callable[[str], None] | None = None,
        chunk: int | None = None,
    ) -> None:
        self._device = device
        self._notify = notify or _log.info
        self._chunk = chunk or EAGER_CHUNK
        if self._chunk & (self._chunk - 1):
            raise ValueError(f"a chunk is a power of two, not {self._chunk}")
        self._index_C = torch.arange(self._chunk, dtype=torch.int32, device=device)
        self._steps: dict[Variant, Step] = {}
        self._fused: dict[Variant, Step] = {}
        self.compiled = self._decide(compiled, parameters)

    def run(
        self, method: str, scalars: Scalars, base: Tensor | None, models: list[Tensor], out: Tensor
    ) -> float:
        """Merge one tensor into `out` (contiguous, on the runner's device); its largest magnitude."""
        variant = Variant(method, len(models), scalars.normalize)
        fused = self.compiled and out.numel() >= SMALL
        chunk = LONGEST if fused else self._chunk
        with torch.no_grad():
            flat = out.view(-1)
            base_P = None if base is None else base.reshape(-1)
            models_P = [model.reshape(-1) for model in models]
            floats = pack_floats(scalars.models, scalars.divisor, scalars.scale).to(self._device)
            peaks = [
                self._part(variant, scalars, base_P, models_P, flat, floats, start, chunk, fused)
                for start in range(0, flat.numel(), chunk)
            ]
            return float(torch.stack(peaks).amax())

    def _part(
        self,
        variant: Variant,
        scalars: Scalars,
        base_P: Tensor | None,
        models_P: list[Tensor],
        out_P: Tensor,
        floats: Tensor,
        start: int,
        chunk: int,
        fused: bool,
    ) -> Tensor:
        end = min(start + chunk, out_P.numel())
        ints = pack_ints(scalars.models, start, end - start).to(self._device)
        base_C = None if base_P is None else self._here(base_P[start:end])
        models_C = [self._here(model_P[start:end]) for model_P in models_P]
        if fused:
            return self._compiled(variant)(base_C, models_C, out_P[start:end], floats, ints, None)
        index_C = self._index_C[: end - start]
        return self._step(variant)(base_C, models_C, out_P[start:end], floats, ints, index_C)

    def _here(self, tensor: Tensor) -> Tensor:
        return tensor.to(self._device, non_blocking=True)

    def _step(self, variant: Variant) -> Step:
        if variant not in self._steps:
            self._steps[variant] = make_step(variant)
        return self._steps[variant]

    def _compiled(self, variant: Variant) -> Step:
        if variant not in self._fused:
            self._notify(f"compiling the {variant.method} kernel (10 to 20 seconds, once)")
            self._fused[variant] = torch.compile(make_step(variant), dynamic=True, fullgraph=True)
        return self._fused[variant]

    def _decide(self, compiled: bool | None, parameters: int) -> bool:
        if compiled is not None:
            return compiled
        if parameters < COMPILE_FROM:
            return False
        if self._device.type == "cpu" and not any(map(shutil.which, ("g++", "clang++", "c++"))):
            self._notify("no C++ compiler found: merging runs several times slower without one")
            return False
        return True
