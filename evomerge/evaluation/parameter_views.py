"""Where a checkpoint's tensors lie inside vLLM's fused parameters.

vLLM stacks q, k, v and gate, up into one parameter each and pads the vocabulary. A merge that writes
into these places saves a copy of the model per candidate. Places are computed from names and shapes,
and believed only after every one was seen to hold exactly the tensor that vLLM's own loader had put
there. A model that keeps its weights in another way (experts, quantisation, ranks of a
tensor-parallel group) has no such places, and goes through vLLM's loader.
"""

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

Shapes = Mapping[str, tuple[int, ...]]
Views = dict[str, Tensor]


def find_views(model: torch.nn.Module, shapes: Shapes) -> Views:
    """The place of every tensor of a checkpoint, or nothing where one has none.

    Args:
        model: the engine's model.
        shapes: of the checkpoint's tensors, by name.
    """
    parameters = {name: parameter.data for name, parameter in model.named_parameters()}
    packed: Mapping[str, list[str]] = getattr(model, "packed_modules_mapping", {})
    views: Views = {}
    for target, whole in parameters.items():
        names = _parts(target, packed, shapes)
        rows = [shapes[name][0] for name in names]
        if not _fits(whole, [shapes[name] for name in names], padded=len(names) == 1):
            return {}
        for name, view in zip(names, torch.split(whole[: sum(rows)], rows), strict=True):
            views[name] = view
    return views if views.keys() == shapes.keys() else {}


def all_hold(views: Mapping[str, Tensor], tensors: Iterable[tuple[str, Tensor]]) -> bool:
    """Whether each place holds its tensor, bit for bit, rounded to the engine's dtype."""
    return all(
        torch.equal(views[name], tensor.to(views[name].device, views[name].dtype))
        for name, tensor in tensors
    )


def _parts(target: str, packed: Mapping[str, list[str]], shapes: Shapes) -> list[str]:
    """The checkpoint's tensors that make up an engine's parameter, in order."""
    if target in shapes:
        return [target]
    pieces = target.split(".")
    stack = next((piece for piece in pieces if piece in packed), None)
    if stack is None:
        return []
    names = [
        ".".join(part if piece == stack else piece for piece in pieces) for part in packed[stack]
    ]
    return names if all(name in shapes for name in names) else []


def _fits(whole: Tensor, parts: list[tuple[int, ...]], padded: bool) -> bool:
    rows = sum(part[0] for part in parts)
    fits = whole.shape[0] >= rows if padded else whole.shape[0] == rows
    return bool(parts) and fits and all(part[1:] == tuple(whole.shape[1:]) for part in parts)
