"""Measures what merges need of their models: one model after the other, shared out among processes.

Several workers may call this at once: each takes a model that no other one has, and waits at the end for
what the others are measuring. A worker of a search does so before its engine starts.
"""

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from evomerge.calibration.collect import DEFAULTS, Options, measure
from evomerge.calibration.loading import Loaded, load_model
from evomerge.calibration.recipes import requests_for
from evomerge.calibration.sets import CalibrationSet
from evomerge.calibration.store import Request, StatisticStore
from evomerge.errors import ResourceError, SpecError
from evomerge.evaluation.calibration_texts import texts_of, wanted
from evomerge.fingerprint import fingerprint
from evomerge.hub import model_folders
from evomerge.layout import read_index
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.indexes import folders_of, read_model, tokenizer_folder
from evomerge.merging.opening import OpenModels
from evomerge.spec import SearchSpec

Tell = Callable[[str], None]
Progress = Callable[[str, int, int], None]
"""Told what is measured, how many batches are done, of how many."""


@dataclass(frozen=True)
class Work:
    """Statistics of some models on some texts.

    folders: of every model, or of each half of `model+adapter`.
    """

    models: tuple[str, ...]
    folders: Mapping[str, Path]
    statistics: tuple[str, ...]
    texts: CalibrationSet

    def requests(self) -> list[Request]:
        """Everything that is to be measured, model by model."""
        prints = {name: fingerprint(read_model(name, self.folders)) for name in self.models}
        found = list(requests_for(self.statistics, self.texts, prints))
        return sorted(found, key=lambda one: self.models.index(one.model))


def work_of(spec: SearchSpec) -> Work | None:
    """What a search's candidates need; None where they need nothing.

    Raises SpecError where its texts are not those that it was submitted with.
    """
    statistics = wanted(spec.space_spec)
    if not statistics or spec.calibration.set is None:
        return None
    texts = texts_of(spec)
    if texts.name != spec.calibration.set:
        raise SpecError(
            "the calibration texts are not those that the search began with",
            where="calibration",
            remedy="put back the files that it names, or start a new search",
        )
    texts.save()
    return Work(spec.models, model_folders(spec.models), statistics, texts)


def calibrate(
    work: Work,
    *,
    options: Options = DEFAULTS,
    device: str | None = None,
    only: str | None = None,
    tell: Tell = lambda text: None,
    progress: Progress = lambda what, done, total: None,
) -> int:
    """Measure what is not there yet; how many statistics that were.

    Args:
        device: None for a GPU where there is one.
        only: one of the models.
    """
    store = StatisticStore()
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    missing = [one for one in work.requests() if not store.has(one)]
    models = work.models if only is None else (only,)
    waiting = {name: [one for one in missing if one.model == name] for name in models}
    calibrator = _Calibrator(work, store, options, place, tell, progress)
    # First the models that nobody else has, then the others, when they are free.
    busy = [name for name, todo in waiting.items() if todo and not calibrator.run(name, todo)]
    for name in busy:
        tell(f"another process measures {name}: waiting for it")
        calibrator.run(name, waiting[name], wait=True)
    return calibrator.count


@dataclass
class _Calibrator:
    work: Work
    store: StatisticStore
    options: Options
    device: str
    tell: Tell
    progress: Progress
    count: int = 0

    def run(self, model: str, requests: Sequence[Request], *, wait: bool = False) -> bool:
        """Measure a model, unless another process has it; whether that was done."""
        with self.store.holding(f"model-{requests[0].fingerprint}", wait=wait) as held:
            todo = [one for one in requests if not self.store.has(one)] if held else []
            if todo:
                self._measure(model, todo)
        return held

    def _measure(self, model: str, requests: Sequence[Request]) -> None:
        with _loaded(model, self.work.folders, self.device) as loaded:
            if loaded.lost:
                self.tell(f"{model}: not in transformers' model, so averaged: {loaded.lost[0]} …")
            for request in requests:
                self._one(request, loaded)

    def _one(self, request: Request, loaded: Loaded) -> None:
        texts, what = self.work.texts, request.description
        with self.store.holding(request.key):
            if self.store.has(request):
                return
            self.tell(f"measuring {what}")
            examples = texts.of(request.owner or request.model)
            with _room(self.store.root):
                measure(
                    request,
                    loaded,
                    examples,
                    texts.max_length,
                    self.store,
                    self.options,
                    lambda done, total: self.progress(what, done, total),
                )
            self.count += 1


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ResourceError(
            f"statistics cannot be kept: {error}",
            where=str(folder),
            remedy="make room there, or set EVOMERGE_CALIBRATION to a folder with room",
        ) from error


@contextmanager
def _loaded(name: str, folders: Mapping[str, Path], device: str) -> Iterator[Loaded]:
    """A model with its adapter, on a device whose memory is free again afterwards."""
    plain = Checkpoint(read_index(folders_of(name, folders)[0]))
    with_adapter = OpenModels(folders)[name]
    changed = (
        (info.name, with_adapter.tensor(info))
        for info in with_adapter.index.tensors.values()
        if with_adapter.fingerprint(info) != plain.fingerprint(plain.index.tensors[info.name])
    )
    listed = plain.index.config.get("architectures") or [None]
    try:
        yield load_model(
            plain.path,
            tokenizer_folder(name, folders),
            plain.tensors(),
            changed,
            architecture=listed[0],
            device=device,
        )
    finally:
        gc.collect()
        if device.startswith("cuda"):
            torch.cuda.empty_cache()
