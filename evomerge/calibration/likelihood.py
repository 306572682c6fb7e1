"""Log-likelihoods of examples, with the labels of the texts or with labels that the model draws."""

import torch
from torch import Tensor

from evomerge.calibration.batches import Batch, Encoded
from evomerge.calibration.loading import Loaded
from evomerge.errors import SpecError


def log_likelihood(loaded: Loaded, batch: Batch, *, drawn: bool) -> tuple[Tensor, int]:
    """log p(y|x) of the one example of a batch, summed over its labels; how many labels there are.

    Args:
        drawn: y is drawn from the model's own distribution, by a generator that the example seeds;
            else it is the text (for classifiers the label). Gradients do not flow through the draw.
    """
    (example,) = batch.examples
    logits_LV = _label_logits(loaded, batch, example)
    scores_LV = logits_LV.float().log_softmax(-1)
    labels_L = _draw(scores_LV, example) if drawn else _labels(loaded, example)
    chosen_L = scores_LV.gather(1, labels_L.to(scores_LV.device)[:, None])
    return chosen_L.sum(), len(labels_L)


def _label_logits(loaded: Loaded, batch: Batch, example: Encoded) -> Tensor:
    """The logits of each label: of the class, or of each token that is predicted."""
    logits: Tensor = loaded.model(input_ids=batch.ids_BT).logits
    return logits if loaded.classifier else logits[0, example.known - 1 : -1]


def _labels(loaded: Loaded, example: Encoded) -> Tensor:
    if not loaded.classifier:
        return torch.tensor(example.ids[example.known :], dtype=torch.long)
    if example.label is None:
        raise SpecError(
            "a classifier's texts need labels",
            where="calibration",
            remedy='write {"text": …, "label": 0}',
        )
    return torch.tensor([example.label])


def _draw(scores_LV: Tensor, example: Encoded) -> Tensor:
    """One label a row, by inversion of the distribution: the same on every device."""
    generator = torch.Generator().manual_seed(example.seed)
    uniform_L = torch.rand(len(scores_LV), generator=generator, dtype=torch.float64)
    shares_LV = scores_LV.detach().double().exp().cumsum(-1)
    wanted_L1 = uniform_L.to(shares_LV.device)[:, None] * shares_LV[:, -1:]
    return torch.searchsorted(shares_LV, wanted_L1).clamp_max(shares_LV.shape[1] - 1)[:, 0]
