"""Merged tensors, one at a time: into a writer, a running engine, or whoever asks.

`MergeSource` holds what a worker keeps for its life: the mapped checkpoints, the tables of
thresholds, the compiled kernels. `merge_tensors` is the same for one recipe.
"""

import logging
import math
from collections.abc import Callable, Iterator
from functools import partial
from types import TracebackType
from typing import NamedTuple

import torch
from torch import Tensor

from evomerge.errors import MergeError
from evomerge.merging.align import Aligned
from evomerge.merging.bench import Bench, Benches, vocabulary_key
from evomerge.merging.calibrated import Calibrated, calibrated
from evomerge.merging.checkpoint import DTYPES, Checkpoint
from evomerge.merging.finite import ensure_finite
from evomerge.merging.indexes import Folders
from evomerge.merging.opening import OpenModels
from evomerge.merging.parts import sections_of
from evomerge.merging.placement import ModelsOn
from evomerge.merging.plan import Layout, TensorPlan, plan_layout, resolve
from evomerge.merging.rank_store import RankStore
from evomerge.merging.rebuilding import Rebuilding
from evomerge.merging.rebuilt import RebuiltCheckpoint, Request
from evomerge.merging.regions import Place, Region, whole
from evomerge.merging.runner import EAGER_CHUNK, Runner
from evomerge.merging.statistics import StatisticsCache
from evomerge.merging.threads import Finish, OneAhead, run_all
from evomerge.merging.validate import validate
from evomerge.methods import Method, Trim, get_method
from evomerge.recipe import Recipe, Slice

_log = logging.getLogger("evomerge.merging")
Destination = Callable[[str], Tensor | Place | None]
"""Where a merged tensor shall be written: a tensor of as many entries, a place that takes a region of
it, or None to skip it."""

_MEASURED = {Trim.MAGNITUDE, Trim.BAND, Trim.RANDOM, Trim.RANKED}
"""Trims for which something is measured that later candidates use again."""
_STRUCTURES = 64
"""Plans that are kept: a search has one, but for stacks of layers, of which every one is another."""


class _Job(NamedTuple):
    """What all tensors of one merge have in common."""

    recipe: Recipe
    method: Method
    bench: Bench
    layouts: tuple[Layout, ...]


class MergeSource:
    """Checkpoints that recipes are merged from, kept open.

    Args:
        models: for each model name that recipes use, its folder; for `model+adapter` one for each
            half. Opened when a recipe asks for them.
        device: where the arithmetic runs and merged tensors lie.
        fused: None compiles kernels where there is a compiler, False never, True insists.
        notify: called with a sentence for people, at most once for each thing worth knowing.
        cache: where measured tables are kept.
        chunk: entries in one eager call, a power of two.
        tables: measure deltas for every density at once, and look for NaN in all models before
            the first merge, as a search wants it; False for a single merge, which reads each
            tensor when its turn comes.
        vocabulary_from: the model whose vocabulary recipes without a `tokenizer` block have, as in
            an engine; None merges their rows place by place.
        models_on: where models are kept: see `placement`.
        rank_memory: bytes of ranks within rows that are kept for later candidates, a byte for an
            entry and expert; None for a quarter of the memory that is free. Without `tables`: none.
    """

    def __init__(
        self,
        models: Folders,
        *,
        device: str | torch.device = "cpu",
        fused: bool | None = None,
        notify: Callable[[str], None] | None = None,
        cache: StatisticsCache | None = None,
        chunk: int = EAGER_CHUNK,
        tables: bool = True,
        vocabulary_from: str | None = None,
        models_on: ModelsOn = "mapped",
        rank_memory: int | None = None,
    ) -> None:
        self.checkpoints = OpenModels(models, notify or _log.info)
        self.device = torch.device(device)
        self._runner = Runner(self.device, fused, notify, chunk)
        self._cache = cache or StatisticsCache()
        self._tables = tables
        self._benches = Benches(
            self.checkpoints,
            self._cache,
            RankStore(rank_memory if tables else 0),
            notify or _log.info,
            tables=tables,
            vocabulary_from=vocabulary_from,
            device=self.device,
            models_on=models_on,
        )
        self._layouts: dict[str, tuple[Layout, ...]] = {}
        self._prepared: set[tuple[str, str]] = set()
        self._notify = notify or _log.info
        self._rebuilding = Rebuilding(self.checkpoints, self._forget)
        self._calibrated: dict[str, Calibrated] = {}

    def __enter__(self) -> "MergeSource":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the mapped files."""
        self._rebuilding.clear()
        self._benches.clear()
        self.checkpoints.close()
        self._layouts.clear()
        self._prepared.clear()
        self._calibrated.clear()

    def layouts(self, recipe: Recipe) -> tuple[Layout, ...]:
        """The output tensors of a recipe; planned once for all candidates of one structure."""
        recipe = self.lowered(recipe)
        key = _structure(recipe)
        if key not in self._layouts:
            if self._tables:
                self._ensure_finite(recipe)
            while len(self._layouts) >= _STRUCTURES:
                del self._layouts[next(iter(self._layouts))]
            self._layouts[key] = plan_layout(recipe, self.aligned(recipe).checkpoints)
        return self._layouts[key]

    def aligned(self, recipe: Recipe) -> Aligned:
        """A recipe's models in its vocabulary, and the tokenizer that goes with it."""
        return self._benches.of(self.lowered(recipe)).models

    def lowered(self, recipe: Recipe) -> Recipe:
        """The recipe that is merged: for methods that make a whole model, that model's."""

        def request() -> Request:
            validate(recipe)
            self._ensure_finite(recipe)
            return Request(
                recipe,
                get_method(recipe.merge_method),
                self._benches.of(recipe).models.checkpoints,
                self._cache,
                lambda: self._statistics(recipe),
                self._notify,
            )

        return self._rebuilding.lower(recipe, request)

    def _ensure_finite(self, recipe: Recipe) -> None:
        for name in recipe.all_models():
            if not isinstance(self.checkpoints[name], RebuiltCheckpoint):
                ensure_finite(self.checkpoints[name].index, self._cache)

    def _forget(self, recipe: Recipe) -> None:
        self._layouts.pop(_structure(recipe), None)
        self._benches.forget(recipe)

    def plan(self, recipe: Recipe) -> tuple[TensorPlan, ...]:
        """Validate a recipe and fill in every number.

        Weights are read the first time only, to look for NaN. Raises RecipeError or Problems,
        CheckpointError, NotFoundError where a statistic was not measured yet, and MergeError where
        weights cancel.
        """
        recipe = self.lowered(recipe)
        validate(recipe)
        plans = tuple(resolve(recipe, self.layouts(recipe)))
        method = get_method(recipe.merge_method)
        if method.statistics is not None:
            statistics = self._statistics(recipe)
            statistics.check(method, plans)
            plans = statistics.weighed(method, plans) if method.weigh else plans
        whole = any(plan.values.get("scope") == "model" for plan in plans)
        if whole and not self._tables:
            # What is measured over a whole model must not meet the first NaN halfway.
            bench = self._benches.of(recipe)
            for layout in (plan.layout for plan in plans if not plan.layout.copy):
                bench.check_finite(layout, *bench.tensors(layout))
        return plans

    def prepare(self, recipe: Recipe) -> None:
        """Measure, on all threads, what recipes like this one need: once for a method and its models."""
        recipe = self.lowered(recipe)
        method, key = get_method(recipe.merge_method), (recipe.merge_method, _structure(recipe))
        measured = method.vectors is not None or method.trim in _MEASURED
        if not self._tables or not measured or key in self._prepared:
            return
        layouts, bench = self.layouts(recipe), self._benches.of(recipe)
        plans = [x for x in self.plan(recipe) if not x.layout.copy and 0 not in x.layout.shape]
        for plan in plans[:1]:  # which measures the whole model, where that is asked for
            bench.scalars(recipe, plan, layouts)
        run_all(lambda plan: bench.scalars(recipe, plan, layouts), plans[1:])
        self._prepared.add(key)

    def merge(self, recipe: Recipe) -> Iterator[tuple[str, Tensor]]:
        """Yield (name, merged tensor) in output dtype. Each tensor is new.

        Raises RecipeError, CheckpointError before the first tensor; MergeError where a result is
        not finite.
        """
        recipe = self.lowered(recipe)
        self.prepare(recipe)
        plans, job = self.plan(recipe), self._job(recipe)
        for plan in plans:
            layout = plan.layout
            out = torch.empty(layout.shape, dtype=out_dtype(recipe, layout), device=self.device)
            self._merge_one(job, plan, out)
            yield layout.name, out

    def stream(self, recipe: Recipe) -> Iterator[tuple[str, Tensor]]:
        """The same with little memory: a tensor holds until the one after the next is asked for."""
        if self.device.type != "cpu":
            yield from self.merge(recipe)
            return
        recipe = self.lowered(recipe)
        plans, job = self.plan(recipe), self._job(recipe)
        dtypes = [out_dtype(recipe, plan.layout) for plan in plans]
        sizes = [
            math.prod(plan.layout.shape) * dtype.itemsize
            for plan, dtype in zip(plans, dtypes, strict=True)
        ]
        rooms = [torch.empty(max(sizes, default=0), dtype=torch.uint8) for _ in range(2)]
        for number, (plan, dtype, size) in enumerate(zip(plans, dtypes, sizes, strict=True)):
            out = rooms[number % 2][:size].view(dtype).view(plan.layout.shape)
            self._merge_one(job, plan, out)
            if not self._tables:
                self.checkpoints.release()
            yield plan.layout.name, out

    def merge_into(self, recipe: Recipe, destination: Destination) -> int:
        """Write each merged tensor, or a region of it, where `destination(name)` says; how many.

        Destinations may be of any float dtype, views, and on another device. A MergeError midway
        leaves the earlier tensors written, and nothing is written after it.
        """
        recipe = self.lowered(recipe)
        self.prepare(recipe)
        plans, job = self.plan(recipe), self._job(recipe)
        written = 0
        with OneAhead() as begun:
            for plan in plans:
                target = destination(plan.layout.name)
                if target is not None:
                    everything = whole(math.prod(plan.layout.shape))
                    place = target if isinstance(target, Place) else Place(target, everything)
                    begun.then(self._write(job, plan, place))
                    written += 1
        return written

    def _write(self, job: _Job, plan: TensorPlan, place: Place) -> Finish:
        layout, target = plan.layout, place.tensor
        if target.numel() != place.region.numel or place.region.end > math.prod(layout.shape):
            raise MergeError(
                f"tensor {layout.name!r} has shape {list(layout.shape)}, its destination "
                f"{list(target.shape)}"
            )
        if target.is_contiguous() and target.device.type == self.device.type:
            return self._begin(job, plan, target, place.region)
        out = torch.empty(target.shape, dtype=target.dtype, device=self.device)
        merged = self._begin(job, plan, out, place.region)

        def finish() -> None:
            merged()
            with torch.no_grad():
                target.copy_(out)

        return finish

    def _statistics(self, recipe: Recipe) -> Calibrated:
        """What was measured of a recipe's models; opened once for all that name the same texts."""
        key = repr((vocabulary_key(recipe), recipe.calibration))
        if key not in self._calibrated:
            self._calibrated[key] = calibrated(recipe, self._benches.of(recipe).models.checkpoints)
        return self._calibrated[key]

    def _job(self, recipe: Recipe) -> _Job:
        method = get_method(recipe.merge_method)
        return _Job(recipe, method, self._benches.of(recipe), self.layouts(recipe))

    def _merge_one(self, job: _Job, plan: TensorPlan, out: Tensor) -> None:
        self._begin(job, plan, out)()

    def _begin(
        self, job: _Job, plan: TensorPlan, out: Tensor, region: Region | None = None
    ) -> Finish:
        """Begin to merge a tensor, or a region of it. What is returned waits for it, and raises MergeError
        where it is not finite.
        """
        layout, bench, method = plan.layout, job.bench, job.method
        numel = math.prod(layout.shape)
        if region is not None and region.numel < numel and (layout.copy or method.compute):
            # What is computed of whole tensors is computed whole, and the part is taken from it.
            entire = torch.empty(layout.shape, dtype=out.dtype, device=self.device)
            self._merge_one(job, plan, entire)
            with torch.no_grad():
                out.copy_(region.cut_out(entire.view(-1)).reshape(out.shape))
            return _done
        if layout.copy:
            bench.copy(layout, out)
            return _done
        if out.numel() == 0:
            return _done
        base, models = bench.tensors(layout)
        if not self._tables:
            bench.check_finite(layout, base, models)
        if method.compute is not None:
            known = self._statistics(job.recipe).measured(method, plan) if method.statistics else ()
            computed = self._runner.compute(method, plan, base, models, out, known)
            return partial(_ensure_merged, layout.name, out.dtype, lambda: computed)
        scalars = bench.scalars(job.recipe, plan, job.layouts)
        merged = self._runner.start(method.name, scalars, base, models, out, region)
        return partial(_ensure_merged, layout.name, out.dtype, merged)


def _done() -> None:
    """Of what is merged as soon as it is begun."""


def _ensure_merged(name: str, dtype: torch.dtype, finite: Callable[[], bool]) -> None:
    if not finite():
        raise MergeError(
            f"the merged tensor {name!r} is not finite in {_short(dtype)}",
            remedy="look for NaN in the models, or use smaller weights",
        )


def merge_tensors(
    recipe: Recipe,
    models: Folders,
    *,
    device: str | torch.device = "cpu",
    fused: bool | None = None,
    notify: Callable[[str], None] | None = None,
) -> Iterator[tuple[str, Tensor]]:
    """Merge one recipe: yields (name, tensor) in output dtype. See `MergeSource`."""
    with MergeSource(models, device=device, fused=fused, notify=notify) as source:
        yield from source.merge(recipe)


def out_dtype(recipe: Recipe, layout: Layout) -> torch.dtype:
    """The recipe's output dtype; the reference model's own where it names none; buffers keep theirs."""
    own = DTYPES[layout.dtype]
    if layout.copy or recipe.output_dtype is None:
        return own
    found: torch.dtype = getattr(torch, recipe.output_dtype)
    return found


def _structure(recipe: Recipe) -> str:
    sections = [
        (section.module, [(run.base_model, _bare(run)) for run in section.slices])
        for section in sections_of(recipe)
    ]
    return repr((get_method(recipe.merge_method).base, vocabulary_key(recipe), sections))


def _bare(run: Slice) -> list[tuple[str, tuple[int, int] | None]]:
    return [(source.model, source.layer_range) for source in run.sources]


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


__all__ = ["Checkpoint", "Destination", "MergeSource", "merge_tensors", "out_dtype"]
