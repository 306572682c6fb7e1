"""Runs a method over whole tensors: fused where that is possible, else eagerly in chunks.

Fused means a compiled C loop on the CPU (`native`) and torch.compile (Triton) on a GPU. The eager
kernels are the definition; they run where there is no compiler, and for dtypes that the C loop does
not know. On the CPU both give the same bits.
"""

import logging
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from evomerge.errors import ResourceError
from evomerge.merging import native
from evomerge.merging.compiler import CannotCompile, compiler
from evomerge.merging.kernels import Step, Variant, make_step, pack_floats, pack_ints
from evomerge.merging.knobs import Scalars
from evomerge.merging.native import Job
from evomerge.merging.plan import TensorPlan
from evomerge.merging.regions import Region, whole
from evomerge.merging.shared import Shared
from evomerge.merging.solve import factorise
from evomerge.methods import Measurements, Method, Tensors

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
        self._shared = Shared()
        self._notify = notify or _log.info
        self.fused = self._decide(fused)

    def start(
        self,
        method: str,
        scalars: Scalars,
        base: Tensor | None,
        models: list[Tensor],
        out: Tensor,
        region: Region | None = None,
    ) -> Callable[[], bool]:
        """Begin to merge one tensor, or a region of it, into `out`. What is returned waits for it, and
        says whether it is finite.

        `out` is contiguous and lies on the runner's device.
        """
        if scalars.lines is not None:
            finite = self._by_lines(scalars, base, models, out, region or whole(out.numel()))
            return lambda: finite
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
            region or whole(out.numel()),
        )
        peak = self._in_c(job) or self._torch(job)
        return lambda: peak() <= torch.finfo(out.dtype).max

    def compute(
        self,
        method: Method,
        plan: TensorPlan,
        base: Tensor | None,
        models: Sequence[Tensor],
        out: Tensor,
        measured: Sequence[Measurements] = (),
    ) -> bool:
        """The same for a method with arithmetic of its own; `measured`: what it needs of its models."""
        flat = out.detach().view(-1)
        chunk = self._chunk if self._device.type == "cpu" else PIECE
        size = chunk if method.entrywise else max(flat.numel(), 1)
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
                part = slice(start, start + size) if method.entrywise else None
                found = method.compute(
                    Tensors(
                        origin,
                        own,
                        plan.values,
                        plan.own,
                        plan.layout.name,
                        [self._measurements(one, part) for one in measured],
                        self._shared.keep,
                        self._shared.recent,
                        factorise,
                    )
                )
                target = flat[start : start + size]
                target.copy_(found.reshape(-1))
                finite &= bool(target.isfinite().all())
        return finite

    def _measurements(self, known: Measurements, part: slice | None) -> Measurements:
        """Statistics where the arithmetic is, in fp32; of a part of the tensor."""
        return {
            name: one
            and one._replace(
                value=self._here(one.value if part is None else one.value.reshape(-1)[part]).float()
            )
            for name, one in known.items()
        }

    def _by_lines(
        self,
        scalars: Scalars,
        base: Tensor | None,
        models: list[Tensor],
        out: Tensor,
        region: Region,
    ) -> bool:
        """A weighted sum with a weight for each row or column."""
        assert scalars.lines is not None and scalars.axis is not None
        weights = torch.from_numpy(scalars.lines).float().to(self._device)
        shape = models[0].shape or torch.Size([1])
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
            merged = back if origin is None else origin + back
            out.copy_(region.cut_out(merged.reshape(-1)).reshape(out.shape))
        return bool(out.isfinite().all())

    def _in_c(self, job: Job) -> Callable[[], float] | None:
        """Gives the largest magnitude; None where the C loop cannot be used."""
        if not self.fused or job.variant in self._refused or not native.supports(job):
            return None
        try:
            return native.start(job)
        except CannotCompile as error:
            self._refused.add(job.variant)
            self._notify(f"merging runs about 20 times slower, without compiled kernels: {error}")
            return None

    def _torch(self, job: Job) -> Callable[[], float]:
        here = job.floats.to(self._device)
        compiled = self.fused and self._device.type != "cpu" and job.out.numel() >= SMALL
        step = self._step(job.variant, compiled)
        inputs = [job.base, *job.models, *job.masks]
        probes = []
        with torch.no_grad():
            for part, written in _chunks(job.region, PIECE if compiled else self._chunk):
                base_C, *others = [None if x is None else self._part(x, part) for x in inputs]
                models_C, masks_C = others[: len(job.models)], others[len(job.models) :]
                ints = pack_ints(job.knobs, part.first, part.end - part.first).to(self._device)
                index_C = None if compiled and part.rows == 1 else self._index(part)
                out_C = job.out[written : written + part.numel]
                probes.append(step(base_C, models_C, masks_C, out_C, here, ints, index_C))
            peak = torch.stack(probes).amax()
        return lambda: float(peak)  # which waits for a GPU

    def _part(self, tensor: Tensor, region: Region) -> Tensor:
        """A region of a flat tensor, flat, on the runner's device."""
        if region.rows == 1:
            return self._here(tensor[region.first : region.end])
        return self._here(region.cut_out(tensor)).reshape(-1)

    def _index(self, region: Region) -> Tensor:
        """The index of each of its entries, counted from the first, int32."""
        if region.rows == 1 and region.width <= self._chunk:
            return self._index_C[: region.width]
        run = torch.arange(region.width, dtype=torch.int32, device=self._device)
        rows = torch.arange(region.rows, dtype=torch.int32, device=self._device) * region.stride
        return (rows[:, None] + run).reshape(-1)

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


def _chunks(region: Region, size: int) -> Iterator[tuple[Region, int]]:
    """A region in pieces of at most `size` entries, and how many were written before each.

    Runs are cut at multiples of `size`, which is a power of two, so that none crosses one of 2^32.
    """
    written = 0
    together = max(1, size // max(region.stride, 1))
    for number in range(0, region.rows, together):
        rows = min(together, region.rows - number)
        start, width = region.row(number), region.width
        if rows > 1:
            yield Region(rows, width, region.stride, start), written
            written += rows * width
            continue
        while width:
            count = min(width, size - start % size)
            yield Region(1, count, count, start), written
            start, width, written = start + count, width - count, written + count
