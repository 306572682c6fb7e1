"""Learning the coefficients: every step shows each teacher's texts to the teacher and to the merged model.

All models lie in memory, the merged one as a function of them and of the coefficients
(`torch.func.functional_call`): N + 1 models, N forward passes of teachers a step, as many forward and
backward passes of the merged model. Which texts a step takes depends on the seed and its number
alone; the state is put away every so many steps, and a killed run goes on from there, bit for bit.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evomerge.calibration.batches import Encoded, encode
from evomerge.calibration.files import replace_whole
from evomerge.calibration.loading import Loaded
from evomerge.calibration.sets import CalibrationSet
from evomerge.calibration.slots import Slot
from evomerge.errors import CheckpointError, MergeError, UsageError
from evomerge.fingerprint import digest, fingerprint
from evomerge.layout import kind_of
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.dam.coefficients import Learned, combine, inside, outside, shape_of
from evomerge.merging.dam.losses import divergence, overlap, pair_weights, powers, similarity
from evomerge.merging.dam.mofo import Mofo
from evomerge.merging.rebuilt import Request
from evomerge.merging.reordered import check_alike, read

STATE = "state.safetensors"
_ALL = "*"
Report = Callable[[int, int, float], None]
"""Told the step, of how many, and its loss."""


@dataclass
class Learner:
    """Learns for one recipe.

    Args:
        loaded: the first model, whose architecture all share.
        folder: where the state is kept.
    """

    request: Request
    loaded: Loaded
    texts: CalibrationSet
    folder: Path
    save_every: int = 50
    losses: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.values = self.request.shared
        names = self.request.names
        models = [self.request.models[name] for name in names]
        for model in models[1:]:
            check_alike(models[0], model)
        self.slots = self.loaded.slots
        self.tensors = {name: self._held(models, name) for name in self.slots}
        self.own = [self._own(number) for number in range(len(names))]
        self.teachers = [n for n, own in enumerate(self.own) if own["teacher"]]
        if not self.teachers:
            raise MergeError("no model is a teacher", remedy="let one have teacher: true")
        self.examples = {n: self._examples(names[n]) for n in self.teachers}
        learnt = [name for name in self.slots if self._learns(name)]
        self.raw = {name: self._begin(name) for name in self.slots}
        self.trained = {name: self.raw[name] for name in learnt}
        self.together = self.values["granularity"] == "model"
        if self.together:  # one tensor of coefficients stands for all that are learned
            one = self.raw[learnt[0]].reshape(len(names), 1)
            self.raw = {n: x for n, x in self.raw.items() if n not in learnt} | {_ALL: one}
            self.trained = {_ALL: one}
        rate, share, decay, clip = (
            float(self.values[key]) for key in ("lr", "update", "weight_decay", "clip")
        )
        self.mofo = Mofo(rate, share, decay, clip)
        self.pairs = self._pair_weights() if self.values["weighted_overlap"] else None

    @property
    def steps(self) -> int:
        """How many there are in all."""
        longest = max(len(found) for found in self.examples.values())
        return int(self.values["steps"]) or -(-longest // int(self.values["batch_size"]))

    def run(self, report: Report = lambda step, steps, loss: None) -> Learned:
        """Go on to the last step. Raises MergeError where the loss is not finite."""
        start = time.perf_counter()
        self._resume()
        for step in range(self.mofo.step, self.steps):
            for raw in self.trained.values():
                raw.requires_grad_(True)
            loss = self._step(step)
            self.losses.append(loss)
            report(step + 1, self.steps, loss)
            if (step + 1) % self.save_every == 0 and step + 1 < self.steps:
                self._put_away()
        learned = self._learned(time.perf_counter() - start)
        (self.folder / STATE).unlink(missing_ok=True)
        return learned

    def coefficients(self) -> dict[str, Tensor]:
        """As they are now, by tensor."""
        kind = str(self.values["nonlinearity"])
        found = {name: outside(raw, kind) for name, raw in self.raw.items()}
        if not self.together:
            return found
        shared = found.pop(_ALL)
        for name, slot in self.slots.items():
            found.setdefault(name, shared.view(-1, *[1] * len(slot.shape)))
        return found

    def _step(self, step: int) -> float:
        """One step; its loss before the step."""
        total = 0.0
        for teacher in self.teachers:
            for example in self._batch(teacher, step):
                part = self._divergence(teacher, example) / int(self.values["batch_size"])
                torch.autograd.backward(part)
                total += float(part.detach())
        terms = self._terms()
        if terms is not None:
            torch.autograd.backward(terms)
            total += float(terms.detach())
        if not np.isfinite(total):
            raise MergeError(f"the loss of step {step + 1} is not finite", remedy="lower lr")
        self.mofo.update(self.trained)
        return total

    def _divergence(self, teacher: int, example: Encoded) -> Tensor:
        ids = torch.tensor([example.ids], device=self.loaded.device)
        with torch.no_grad():
            own = {name: tensors[teacher].float() for name, tensors in self.tensors.items()}
            wanted = self._logits(own, ids)
        now = self.coefficients()
        merged = {name: combine(now[name], found) for name, found in self.tensors.items()}
        got = self._logits(merged, ids)
        if wanted.shape != got.shape:
            raise CheckpointError("models of several vocabularies", remedy="merge those of one")
        kind, temperature = str(self.values["divergence"]), float(self.values["temperature"])
        return divergence(kind, wanted, got, temperature)

    def _logits(self, tensors: Mapping[str, Tensor], ids_1T: Tensor) -> Tensor:
        """[T, V] of the model with these tensors of its checkpoint."""
        parameters = assemble(self.slots, tensors, self.loaded.tensors())
        found = torch.func.functional_call(
            self.loaded.model, parameters, (), {"input_ids": ids_1T, "use_cache": False}
        )
        logits: Tensor = found.logits
        return logits.reshape(-1, logits.shape[-1])

    def _terms(self) -> Tensor | None:
        """The terms on coefficients that have a factor; None where none has."""
        now = {n: outside(raw, str(self.values["nonlinearity"])) for n, raw in self.trained.items()}
        found: dict[str, Callable[[], Tensor]] = {
            "similarity": lambda: similarity(now.values()),
            "overlap": lambda: overlap(now),
            "weighted_overlap": lambda: overlap(now, self.pairs),
            "l1": lambda: powers(now.values(), 1),
            "l2": lambda: powers(now.values(), 2),
        }
        terms = [float(self.values[n]) * term() for n, term in found.items() if self.values[n]]
        return torch.stack(terms).sum() if terms else None

    def _batch(self, teacher: int, step: int) -> list[Encoded]:
        """The texts of a step: the seed's order of them, another one in every pass."""
        examples, size = self.examples[teacher], int(self.values["batch_size"])
        found = []
        for place in range(step * size, (step + 1) * size):
            turn, at = divmod(place, len(examples))
            seed = (self.request.recipe.seed, teacher, turn)
            found.append(examples[int(np.random.default_rng(seed).permutation(len(examples))[at])])
        return found

    def _examples(self, model: str) -> Sequence[Encoded]:
        found = encode(self.loaded.tokenizer, self.texts.of(model), self.texts.max_length)
        if not found:
            raise UsageError("its texts hold no token", where=model, remedy="name longer texts")
        return found

    def _held(self, models: Sequence[Checkpoint], name: str) -> list[Tensor]:
        return [read(model)(name).to(self.loaded.device) for model in models]

    def _own(self, number: int) -> dict[str, Any]:
        """A model's own parameters."""
        assert self.request.recipe.models is not None
        source = self.request.recipe.models[number]
        each = [one for one in self.request.method.parameters if one.per_model]
        return {
            one.name: source.parameters[one.name][0].value
            if one.name in source.parameters
            else self.request.value(one.name, "", 0.0)
            for one in each
        }

    def _begin(self, name: str) -> Tensor:
        """Where a tensor's coefficients begin, [N, ...]."""
        count = len(self.own)
        column = self.values["granularity"] == "column"
        shape = shape_of(
            name, self.slots[name].shape, column=column, transposed=name in self._transposed
        )
        begun = [float(own["weight"]) for own in self.own]
        values = [1 / count if weight == -1.0 else weight for weight in begun]
        start = torch.stack([torch.full(shape, value) for value in values])
        return inside(start, str(self.values["nonlinearity"])).to(self.loaded.device)

    @cached_property
    def _transposed(self) -> frozenset[str]:
        """Weights that are stored as [inputs, outputs]: GPT-2's."""
        modules = self.loaded.model.named_modules()
        other = {f"{name}.weight" for name, one in modules if type(one).__name__ == "Conv1D"}
        return frozenset(slot.name for slot in self.slots.values() if slot.parameter in other)

    def _learns(self, name: str) -> bool:
        kind = kind_of(name)
        if kind == "embedding":
            return bool(self.values["embeddings"])
        return bool(self.values["norms"]) if kind == "norm" else True

    def _pair_weights(self) -> dict[str, Tensor]:
        base = self.request.recipe.base_model
        if base is None:
            raise MergeError("weighted_overlap needs a base_model", remedy="add base_model: PATH")
        found = {}
        for name, raw in self.trained.items():
            if not self.together and len(self.slots[name].shape) == 2:
                origin = read(self.request.models[base])(name).to(self.loaded.device).float()
                deltas = [x.float() - origin for x in self.tensors[name]]
                flip = name in self._transposed
                columns = raw[0].numel()
                found[name] = pair_weights([d.T if flip else d for d in deltas], columns)
        return found

    @property
    def digest(self) -> str:
        """Names all that the coefficients depend on."""
        models = [fingerprint(self.request.models[n].index) for n in self.request.names]
        texts = [self.texts.digest_of(self.request.names[n]) for n in self.teachers]
        return digest([models, texts, self.own, self.values, self.request.recipe.seed])

    def _learned(self, seconds: float) -> Learned:
        names = self.request.names
        about = {
            "models": list(names),
            "fingerprints": [fingerprint(self.request.models[n].index) for n in names],
            "settings": self.values,
            "own": self.own,
            "losses": self.losses,
            "seconds": seconds,
            "digest": self.digest,
        }
        values = {n: x.detach().cpu() for n, x in self.coefficients().items()}
        return Learned(values, about)

    def _put_away(self) -> None:
        from safetensors.torch import save_file

        parts = {"raw": self.trained, "first": self.mofo.first, "second": self.mofo.second}
        kept = {
            f"{part}:{name}": value.detach().cpu().contiguous()
            for part, values in parts.items()
            for name, value in values.items()
        }
        note = {"digest": self.digest, "step": self.mofo.step, "losses": self.losses}
        replace_whole(
            self.folder / STATE,
            lambda draft: save_file(kept, str(draft), metadata={"state": json.dumps(note)}),
        )

    def _resume(self) -> None:
        """Take up what a killed run left. Raises UsageError where that was another run."""
        file = self.folder / STATE
        if not file.is_file():
            return
        from safetensors import safe_open

        with safe_open(str(file), framework="pt", device=str(self.loaded.device)) as stream:
            note = json.loads(stream.metadata()["state"])
            kept = {key: stream.get_tensor(key) for key in stream.keys()}  # noqa: SIM118
        if note["digest"] != self.digest:
            raise UsageError(
                "holds the state of another configuration",
                where=str(file),
                remedy="choose another folder, or remove the file to begin anew",
            )
        for key, value in kept.items():
            part, _, name = key.partition(":")
            if part == "raw":
                self.raw[name] = self.trained[name] = value
            else:
                getattr(self.mofo, part)[name] = value
        self.mofo.step, self.losses = note["step"], note["losses"]


def assemble(
    slots: Mapping[str, Slot], tensors: Mapping[str, Tensor], held: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """A model's parameters from tensors of its checkpoint, several of which may lie in one."""
    inside_of: dict[str, list[Slot]] = {}
    for slot in slots.values():
        inside_of.setdefault(slot.parameter, []).append(slot)
    found = dict(held)
    for name, own in inside_of.items():
        ordered = sorted(own, key=lambda slot: slot.start)
        parts, end = [], 0
        for slot in ordered:
            parts += [held[name].reshape(-1)[end : slot.start], tensors[slot.name].reshape(-1)]
            end = slot.start + slot.numel
        parts.append(held[name].reshape(-1)[end:])
        alone = len(own) == 1 and own[0].numel == held[name].numel()
        whole = tensors[own[0].name] if alone else torch.cat(parts)
        found[name] = whole.reshape(held[name].shape)
    return found
