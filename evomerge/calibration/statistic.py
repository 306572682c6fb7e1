"""What can be measured of a model on texts: declarations, and no torch.

A statistic of another method is one more declaration here and one more collector in
`evomerge.calibration.collectors`; the store, the command, searches and Ray know it then.
"""

from dataclasses import dataclass
from typing import Literal

from evomerge.errors import NotFoundError, did_you_mean

Scope = Literal["tensor", "model"]


@dataclass(frozen=True)
class Statistic:
    """One thing that is measured.

    Attributes:
        scope: `tensor` has one value for each tensor of the checkpoint that it applies to, under that
            tensor's name; `model` has named tensors of its own.
        shape: of one value, in words; o and n are a weight's outputs and inputs, P a tensor's shape.
        version: of the code that measures it; raise it when that yields other numbers.
        needs_loss: whether examples need something to predict.
        crosswise: whether each model is measured on the texts of every other one too.
    """

    name: str
    doc: str
    scope: Scope
    shape: str
    version: int = 1
    needs_loss: bool = False
    crosswise: bool = False


STATISTICS: dict[str, Statistic] = {
    one.name: one
    for one in (
        Statistic(
            "input_grams",
            "inner products of a linear layer's inputs, mean over tokens",
            "tensor",
            "[n, n] fp32",
        ),
        Statistic(
            "output_gradient_grams",
            "inner products of the gradients at a linear layer's outputs, for labels that are drawn "
            "from the model, mean over tokens",
            "tensor",
            "[o, o] fp32",
            needs_loss=True,
        ),
        Statistic(
            "fisher",
            "squared gradients of the log-likelihood of labels that are drawn from the model, mean "
            "over examples",
            "tensor",
            "[P] fp32",
            needs_loss=True,
        ),
        Statistic(
            "empirical_fisher",
            "squared gradients of the log-likelihood of the texts themselves, mean over examples",
            "tensor",
            "[P] fp32",
            needs_loss=True,
        ),
        Statistic(
            "sensitivity",
            "sum of |weight · gradient of the loss| over a tensor, mean over examples",
            "tensor",
            "[] fp32",
            needs_loss=True,
        ),
        Statistic(
            "logits",
            "logits at some positions of the texts, the same ones for every model",
            "model",
            "[positions, vocabulary] fp32",
            crosswise=True,
        ),
        Statistic(
            "activations",
            "inputs of linear layers at some tokens of the texts, the same ones for every model",
            "tensor",
            "[positions, n] fp32",
            crosswise=True,
        ),
        Statistic(
            "routing",
            "of the experts of every layer the share of selections, and the inner products of their "
            "router logits, mean over tokens",
            "model",
            "[experts] and [experts, experts] fp32",
        ),
    )
}
"""Every statistic by name."""


def get_statistic(name: str) -> Statistic:
    """The statistic of that name; NotFoundError with the nearest one where there is none."""
    if name not in STATISTICS:
        raise NotFoundError(
            f"no statistic named {name!r}", remedy=did_you_mean(name, list(STATISTICS))
        )
    return STATISTICS[name]
