"""Merges inside the vLLM worker: vLLM mixes this class into its own worker in every rank.

The engine calls it by name through `collective_rpc` with plain JSON. Base and experts are mapped
files, the merge is computed straight into the engine's parameters, data pointers stay (CUDA graphs
remain valid), and nothing is written to disk.

On a CPU vLLM packs every Linear's weight into a oneDNN handle, which later writes do not reach;
importing this module switches that off, before the model is loaded.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from pathlib import Path
from typing import Any

import torch
import vllm.model_executor.layers.utils as _layers
from torch import Tensor
from vllm.platforms import current_platform

from evomerge.errors import EvomergeError, MergeError, UsageError
from evomerge.evaluation.depth import Shapes, empty_layers, zeros
from evomerge.evaluation.parameter_views import Places, all_hold, find_places
from evomerge.merging.merge import MergeSource, out_dtype
from evomerge.merging.placement import ModelsOn
from evomerge.recipe import Recipe

EXTENSION = f"{__name__}.MergeExtension"
Named = Iterable[tuple[str, Tensor]]


def _leave_unpacked(layer: torch.nn.Module, remove_weight: bool) -> None:
    """What a Linear on a CPU computes with: its own `weight`, so that writes to it count."""
    layer.cpu_linear = torch.nn.functional.linear  # type: ignore[assignment]


if current_platform.is_cpu():
    _layers.dispatch_cpu_unquantized_gemm = _leave_unpacked


class MergeExtension:
    """Methods of the worker. All names are prefixed: vLLM refuses ones that its worker has."""

    model_runner: Any
    device: torch.device

    def evomerge_open(
        self,
        models_json: str,
        layers_json: str = "null",
        models_on: ModelsOn = "auto",
        rank_memory_json: str = "null",
    ) -> str:
        """Map the models `{name: folder}`, base first; returns the engine's parameter dtype.

        With a number of layers the engine has room for them, and recipes may have fewer.
        `models_on`: where the models are kept. `rank_memory_json`: bytes for ranks, see `MergeSource`.
        """
        folders: Mapping[str, str] = json.loads(models_json)
        models = {name: Path(folder) for name, folder in folders.items()}
        base = next(iter(models))
        source = MergeSource(
            models,
            device=self.device,
            vocabulary_from=base,
            models_on=models_on,
            rank_memory=json.loads(rank_memory_json),
        )
        self._evomerge_source = source
        own = source.checkpoints[base].index.num_layers
        self._evomerge_room: int | None = json.loads(layers_json)
        self._evomerge_layers = self._evomerge_room or own
        self._evomerge_places: Places = {}
        self._evomerge_timer = _ForwardTimer(self._evomerge_model())
        dtype = str(next(self._evomerge_model().parameters()).dtype)
        return json.dumps(dtype.removeprefix("torch."))

    def evomerge_process(self) -> str:
        """This rank's process id."""
        return json.dumps(os.getpid())

    def evomerge_apply(self, recipe_json: str) -> str:
        """Merge a recipe into the parameters; JSON with `merge_seconds`, `load_seconds`, `error`.

        A recipe that gives no weights comes back as `error`: `started` says whether parameters were
        written before that. Anything else raises, and the engine must be thrown away.
        """
        recipe = Recipe.model_validate_json(recipe_json)
        try:
            self._evomerge_source.plan(recipe)
            self._evomerge_empty(recipe)
        except (MergeError, UsageError) as error:
            return json.dumps({"error": _as_json(error), "started": False})
        try:
            return json.dumps(self._evomerge_write(recipe))
        except MergeError as error:
            return json.dumps({"error": _as_json(error), "started": True})

    def evomerge_find_places(self, recipe_json: str) -> str:
        """Look for where each tensor of a recipe, just applied, lies in the engine's parameters.

        From then on merges are computed straight into these places. Returns how many there are: 0
        where one was not found, and merges go on through vLLM's own loader.
        """
        recipe, source = Recipe.model_validate_json(recipe_json), self._evomerge_source
        shapes = {layout.name: layout.shape for layout in source.layouts(recipe)}
        shapes |= self._evomerge_empty(recipe)
        places = find_places(self._evomerge_model(), shapes, *_rank())
        if places and all_hold(places, chain(source.merge(recipe), self._evomerge_zeros(recipe))):
            self._evomerge_places = places
        return json.dumps(len(self._evomerge_places))

    def evomerge_forget_places(self) -> str:
        """Merge through vLLM's own loader from now on."""
        self._evomerge_places = {}
        return "0"

    def evomerge_forward_seconds(self) -> str:
        """Seconds in model forward passes since the last call; null where they run on a GPU."""
        return json.dumps(self._evomerge_timer.take())

    def evomerge_fingerprint(self) -> str:
        """SHA-256 of every parameter's bytes."""
        digest = hashlib.sha256()
        for name, parameter in sorted(self._evomerge_model().named_parameters()):
            digest.update(name.encode())
            flat = parameter.detach().contiguous().cpu().view(-1)
            digest.update(flat.view(torch.uint8).numpy().data)
        return digest.hexdigest()

    def _evomerge_empty(self, recipe: Recipe) -> Shapes:
        """The engine's layers that a recipe leaves empty. MergeError where it has too many."""
        shapes = {x.name: x.shape for x in self._evomerge_source.layouts(recipe)}
        return empty_layers(shapes, self._evomerge_layers, exact=self._evomerge_room is None)

    def _evomerge_zeros(self, recipe: Recipe) -> Named:
        like = next(self._evomerge_model().parameters())
        return zeros(self._evomerge_empty(recipe), like)

    def _evomerge_model(self) -> torch.nn.Module:
        model: torch.nn.Module = self.model_runner.get_model()
        return model

    def _evomerge_write(self, recipe: Recipe) -> dict[str, float]:
        start = time.perf_counter()
        with torch.inference_mode():
            if self._evomerge_fits(recipe):
                self._evomerge_source.merge_into(recipe, self._evomerge_places.get)
                for name in self._evomerge_empty(recipe):
                    self._evomerge_places[name].tensor.zero_()
                return {"merge_seconds": time.perf_counter() - start, "load_seconds": 0.0}
            tensors = chain(self._evomerge_source.merge(recipe), self._evomerge_zeros(recipe))
            timed = _TimedTensors(tensors)
            loaded = self._evomerge_model().load_weights(timed)  # type: ignore[operator]
        _check_all_loaded(self._evomerge_model(), loaded)
        total = time.perf_counter() - start
        return {"merge_seconds": timed.seconds, "load_seconds": total - timed.seconds}

    def _evomerge_fits(self, recipe: Recipe) -> bool:
        """Whether merging into the parameters rounds exactly as writing a checkpoint would."""
        places = self._evomerge_places
        return bool(places) and all(
            layout.name in places
            and out_dtype(recipe, layout) in {torch.float32, places[layout.name].tensor.dtype}
            for layout in self._evomerge_source.layouts(recipe)
        )


def _rank() -> tuple[int, int]:
    """This rank's number in its tensor-parallel group, and how many there are."""
    from vllm.distributed import (
        get_tensor_model_parallel_rank,
        get_tensor_model_parallel_world_size,
    )

    return get_tensor_model_parallel_rank(), get_tensor_model_parallel_world_size()


class _TimedTensors:
    """An iterator that knows how long its source took."""

    def __init__(self, tensors: Iterator[tuple[str, Tensor]]) -> None:
        self._tensors = tensors
        self.seconds = 0.0

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        while True:
            start = time.perf_counter()
            pair = next(self._tensors, None)
            self.seconds += time.perf_counter() - start
            if pair is None:
                return
            yield pair


class _ForwardTimer:
    """Sums the time inside the model's forward pass and its output head; on a CPU only."""

    def __init__(self, model: torch.nn.Module) -> None:
        self.seconds = 0.0
        self._runs_here = next(model.parameters()).device.type == "cpu"
        if self._runs_here:
            model.register_forward_pre_hook(self._begin)
            model.register_forward_hook(self._end)
            model.compute_logits = self._timed(model.compute_logits)  # type: ignore[assignment,arg-type]

    def take(self) -> float | None:
        """The sum so far, and start again from 0."""
        seconds, self.seconds = self.seconds, 0.0
        return seconds if self._runs_here else None

    def _begin(self, *_: object) -> None:
        self._started = time.perf_counter()

    def _end(self, *_: object) -> None:
        self.seconds += time.perf_counter() - self._started

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._begin()
            result = function(*args, **kwargs)
            self._end()
            return result

        return timed


def _check_all_loaded(model: torch.nn.Module, loaded: set[str] | None) -> None:
    """Every candidate must overwrite every parameter: nothing of the last one may stay."""
    if loaded is None:
        return
    missing = sorted({name for name, _ in model.named_parameters()} - set(loaded))
    if missing:
        raise RuntimeError(f"the merge left parameters as they were: {', '.join(missing[:5])}")


def _as_json(error: EvomergeError) -> dict[str, str | None]:
    return {"message": error.message, "where": error.where, "remedy": error.remedy}
