"""A model ready to be measured: transformers' own, in fp32, with the slots of its checkpoint's tensors."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from evomerge.calibration.slots import Slot, find_slots
from evomerge.errors import CheckpointError, EngineError
from evomerge.vocabulary import load_tokenizer

_CLASSIFIER = "ForSequenceClassification"


@dataclass(frozen=True)
class Loaded:
    """A model on its device, frozen and in evaluation mode.

    slots: by the names of the checkpoint. lost: float tensors that were not found in the model.
    """

    model: torch.nn.Module
    tokenizer: Any
    slots: dict[str, Slot]
    lost: tuple[str, ...]
    classifier: bool

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    def tensors(self) -> dict[str, Tensor]:
        """Its parameters by name."""
        return dict(self.model.named_parameters())


def load_model(
    folder: Path,
    tokenizer: Path,
    stored: Iterable[tuple[str, Tensor]],
    changed: Iterable[tuple[str, Tensor]] = (),
    *,
    architecture: str | None = None,
    device: str = "cpu",
) -> Loaded:
    """Load the checkpoint in `folder`.

    Args:
        tokenizer: the folder of its tokenizer.
        stored: the checkpoint's tensors, by name.
        changed: tensors that take the place of stored ones: an adapter's.
        architecture: the class, where config.json names one.

    Raises EngineError where transformers cannot load it, CheckpointError where a changed tensor has no
    place in the model.
    """
    model = _load(folder, architecture).to(device).requires_grad_(False).eval()
    slots, lost = find_slots(model, stored)
    _overwrite(model, slots, changed)
    classifier = _CLASSIFIER in type(model).__name__
    return Loaded(model, load_tokenizer(tokenizer), slots, tuple(lost), classifier)


def _load(folder: Path, architecture: str | None) -> torch.nn.Module:
    try:
        import transformers
        from transformers.utils import logging

        logging.disable_progress_bar()
        named = getattr(transformers, architecture or "", None)
        cls = named or transformers.AutoModelForCausalLM
        settings: dict[str, Any] = {"dtype": torch.float32, "use_safetensors": True}
        try:
            # Experts one after the other, each as a linear map of its own that can be seen.
            model = cls.from_pretrained(folder, experts_implementation="eager", **settings)
        except (TypeError, ValueError):
            model = cls.from_pretrained(folder, **settings)
    except Exception as error:  # transformers raises anything here
        raise EngineError(
            f"transformers cannot load the model: {type(error).__name__}: {error}",
            where=str(folder),
            remedy="statistics need a causal language model or a sequence classifier",
        ) from error
    found: torch.nn.Module = model
    return found


@torch.no_grad()
def _overwrite(
    model: torch.nn.Module, slots: dict[str, Slot], changed: Iterable[tuple[str, Tensor]]
) -> None:
    held = dict(model.named_parameters())
    for name, tensor in changed:
        if name not in slots or slots[name].shape != tuple(tensor.shape):
            raise CheckpointError(
                f"tensor {name!r}, which the adapter changes, is not so in transformers' model",
                remedy="merge the adapter into a checkpoint first, and name that",
            )
        slots[name].of(held[slots[name].parameter].data).copy_(tensor)
