"""Measures one statistic of one loaded model and puts it into the store.

Memory is bounded: sums that do not fit the budget together are measured in several passes over the
texts. Every so many batches the sums are put away, so that a killed process is gone on from there, bit
for bit.
"""

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor

from evomerge.calibration.batches import Encoded, encode, load_batch, make_batches
from evomerge.calibration.collectors import Collector, Sums, Unit, make_collector
from evomerge.calibration.files import replace_whole, write_whole
from evomerge.calibration.loading import Loaded
from evomerge.calibration.sets import Example
from evomerge.calibration.store import Request, StatisticStore
from evomerge.errors import CheckpointError, SpecError

_PROGRESS = "progress.safetensors"
Report = Callable[[int, int], None]
"""Told how many batches are done, of how many."""


@dataclass(frozen=True)
class Options:
    """How to measure; nothing here changes what is measured, but for the order of sums.

    batch_size: texts of one length at once. memory: bytes that sums may take; one that is larger alone
    is measured alone. save_every: batches between two times that sums are put away.
    """

    batch_size: int = 8
    memory: int = 8 << 30
    save_every: int = 50


DEFAULTS = Options()


@dataclass
class _State:
    """Where a measurement is."""

    passes: list[list[str]] = field(default_factory=list)
    number: int = 0
    batch: int = 0


def measure(
    request: Request,
    loaded: Loaded,
    examples: Sequence[Example],
    max_length: int,
    store: StatisticStore,
    options: Options = DEFAULTS,
    report: Report = lambda done, total: None,
) -> None:
    """Measure what `request` names; the caller holds its lock.

    Raises SpecError where no example has a token, CheckpointError where a value is not finite.
    """
    encoded = encode(loaded.tokenizer, examples, max_length)
    if not encoded:
        raise SpecError("its texts hold no token", where=request.model, remedy="name longer texts")
    collector = make_collector(request.statistic, loaded, encoded)
    _Measurement(request, loaded, collector, encoded, store, options).run(report)


class _Measurement:
    """One collector's passes over the texts."""

    def __init__(
        self,
        request: Request,
        loaded: Loaded,
        collector: Collector,
        encoded: Sequence[Encoded],
        store: StatisticStore,
        options: Options,
    ) -> None:
        self.request, self.loaded, self.collector = request, loaded, collector
        self.store, self.options, self.encoded = store, options, encoded
        self.folder = store.work(request)
        size = 1 if collector.one_by_one else options.batch_size
        self.batches = make_batches(encoded, size)
        self.moments: dict[str, list[float]] = {}

    def run(self, report: Report) -> None:
        start = time.perf_counter()
        self.folder.mkdir(parents=True, exist_ok=True)
        state = self._resume() or self._plan()
        total = len(state.passes) * len(self.batches)
        while state.number < len(state.passes):
            report(state.number * len(self.batches) + state.batch, total)
            self._pass(state, lambda done: report(done, total))
            state = _State(state.passes, state.number + 1)
        (self.folder / _PROGRESS).unlink(missing_ok=True)
        self.store.finish(self.request, self._header(state, time.perf_counter() - start))

    def _plan(self) -> _State:
        units = self.collector.units(load_batch(self.batches[0], self.loaded.device))
        return _State([_names(units) for units in _fitting(units, self.options.memory)])

    def _pass(self, state: _State, done: Callable[[int], None]) -> None:
        """One pass over the texts, from where it is on."""
        if state.batch == 0:
            self.collector.begin(frozenset(state.passes[state.number]))
        for number in range(state.batch, len(self.batches)):
            self.collector.feed(load_batch(self.batches[number], self.loaded.device))
            done(state.number * len(self.batches) + number + 1)
            if (number + 1) % self.options.save_every == 0 and number + 1 < len(self.batches):
                self._put_away(_State(state.passes, state.number, number + 1))
        self._write(state)

    def _write(self, state: _State) -> None:
        """Keep what a pass gave, then the note that it did."""
        from safetensors.torch import save_file

        sums, values = self.collector.sums, self.collector.values()
        kept = {name: value.detach().cpu().contiguous() for name, value in values.items()}
        about = {
            "counts": sums.counts,
            "notes": sums.notes,
            "moments": {name: _moments(name, value, self.request) for name, value in kept.items()},
        }
        part = f"part-{state.number:05d}"
        replace_whole(
            self.folder / f"{part}.safetensors", lambda draft: save_file(kept, str(draft))
        )
        write_whole(self.folder / f"{part}.json", json.dumps(about).encode())
        self.collector.begin(frozenset())
        self._put_away(_State(state.passes, state.number + 1))

    def _put_away(self, state: _State) -> None:
        from safetensors.torch import save_file

        sums = self.collector.sums
        tensors = {
            name: tensor.detach().cpu().contiguous() for name, tensor in sums.tensors.items()
        }
        note = json.dumps({**asdict(state), "counts": sums.counts, "notes": sums.notes})
        replace_whole(
            self.folder / _PROGRESS,
            lambda draft: save_file(tensors, str(draft), metadata={"state": note}),
        )

    def _resume(self) -> _State | None:
        """What a killed process left, with the collector as it was; None where there is nothing."""
        file = self.folder / _PROGRESS
        if not file.is_file():
            return None
        from safetensors import safe_open

        with safe_open(str(file), framework="pt", device=str(self.loaded.device)) as stream:
            note = json.loads(stream.metadata()["state"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118
        counts, notes = note.pop("counts"), note.pop("notes")
        state = _State(**note)
        if state.batch:
            self.collector.begin(frozenset(state.passes[state.number]))
            self.collector.sums = Sums(tensors, counts, notes)
        return state

    def _header(self, state: _State, seconds: float) -> dict[str, Any]:
        """All that is known besides the values."""
        notes: dict[str, Any] = {}
        parts = [self.folder / f"part-{number:05d}.json" for number in range(len(state.passes))]
        for about in (json.loads(part.read_text("utf-8")) for part in parts):
            for key, found in about.items():
                notes.setdefault(key, {}).update(found)
        return {
            **notes,
            "examples": len(self.encoded),
            "tokens": sum(len(one.ids) for one in self.encoded),
            "ids": _digest_of(self.encoded),
            "lost": list(self.loaded.lost),
            "passes": len(state.passes),
            "seconds": seconds,
        }


def _names(units: Sequence[Unit]) -> list[str]:
    return [name for unit in units for name in unit.names]


def _fitting(units: Sequence[Unit], memory: int) -> Iterator[list[Unit]]:
    """Units in passes, each within `memory`; one that is larger stands alone."""
    chosen: list[Unit] = []
    for unit in units:
        if chosen and sum(one.num_bytes for one in chosen) + unit.num_bytes > memory:
            yield chosen
            chosen = []
        chosen.append(unit)
    if chosen:
        yield chosen


def _moments(name: str, value: Tensor, request: Request) -> list[float]:
    """Sum, sum of squares and trace (0 for what is no square) of a value."""
    wide = value.double() if value.numel() < 1 << 24 else value
    total, squares = (
        float(wide.sum(dtype=torch.float64)),
        float(wide.square().sum(dtype=torch.float64)),
    )
    if not torch.isfinite(torch.tensor([total, squares])).all():
        raise CheckpointError(
            f"{request.statistic} of tensor {name!r} is not finite",
            where=request.model,
            remedy="look for NaN in the model, and for texts that it gives no probability",
        )
    square = value.dim() == 2 and value.shape[0] == value.shape[1]
    return [total, squares, float(value.diagonal().sum(dtype=torch.float64)) if square else 0.0]


def _digest_of(encoded: Sequence[Encoded]) -> str:
    from evomerge.fingerprint import digest

    return digest(one.ids for one in encoded)
