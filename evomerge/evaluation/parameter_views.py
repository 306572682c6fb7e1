"""Where a checkpoint's tensors lie inside vLLM's fused and divided parameters.

vLLM stacks q, k, v and gate, up into one parameter each, pads the vocabulary, and gives each rank of a
tensor-parallel group a slice of every matrix. A merge that writes into these places works out only what
the rank owns, and saves a copy of the model per candidate. Places are guessed from names, shapes and the
rank, and believed only after every one was seen to hold exactly what vLLM's own loader had put there. A
model that keeps its weights in another way (experts, quantisation, heads shared by ranks) has no such
places, and goes through vLLM's loader.
"""

import math
from collections.abc import Iterable, Mapping

import torch
from torch import Tensor

from evomerge.merging.regions import Place, slice_of, whole

Shape = tuple[int, ...]
Shapes = Mapping[str, Shape]
Places = dict[str, Place]


def find_places(model: torch.nn.Module, shapes: Shapes, rank: int = 0, ranks: int = 1) -> Places:
    """The place of every tensor of a checkpoint, or nothing where one has none.

    Args:
        model: the engine's model, as this rank has it.
        shapes: of the checkpoint's tensors, by name.
        rank, ranks: this rank's number, and how many share the model.
    """
    parameters = {name: parameter.data for name, parameter in model.named_parameters()}
    packed: Mapping[str, list[str]] = getattr(model, "packed_modules_mapping", {})
    places: Places = {}
    for target, held in parameters.items():
        names = _parts(target, packed, shapes)
        found = _places(held, [shapes[name] for name in names], rank, ranks) if names else None
        if found is None:
            return {}
        places |= zip(names, found, strict=True)
    return places if places.keys() == shapes.keys() else {}


def all_hold(places: Mapping[str, Place], tensors: Iterable[tuple[str, Tensor]]) -> bool:
    """Whether each place holds its part of its tensor, bit for bit, rounded to the engine's dtype."""
    return all(places[name].same_as(tensor) for name, tensor in tensors)


def _places(held: Tensor, shapes: list[Shape], rank: int, ranks: int) -> list[Place] | None:
    """Places one below the other in `held`: whole tensors, or every one divided alike; None if neither."""
    if len(shapes) == 1:
        place = _single(held, shapes[0], rank, ranks)
        return None if place is None else [place]
    for shares in {1, ranks}:
        rows = [shape[0] // shares for shape in shapes]
        divides = all(shape[0] % shares == 0 for shape in shapes)
        alike = all(shape[1:] == tuple(held.shape[1:]) for shape in shapes)
        if divides and alike and sum(rows) == held.shape[0]:
            own = rank if shares > 1 else 0
            views = torch.split(held, rows)
            return [
                Place(view, slice_of(shape, 0, own * count, (own + 1) * count))
                for view, shape, count in zip(views, shapes, rows, strict=True)
            ]
    return None


def _single(held: Tensor, shape: Shape, rank: int, ranks: int) -> Place | None:
    """The place of one tensor: whole, with padding below it, or a slice of one dimension."""
    if tuple(held.shape) == shape:
        return Place(held, whole(math.prod(shape)))
    if len(shape) != held.dim() or not shape:
        return None
    differing = [d for d in range(len(shape)) if held.shape[d] != shape[d]]
    if len(differing) != 1:
        return None
    dim = differing[0]
    start = rank * held.shape[dim] if ranks > 1 else 0
    # A vocabulary is padded first and divided then: the last ranks may own less than they hold.
    stop = min(start + held.shape[dim], shape[dim])
    if stop <= start or (ranks == 1 and dim != 0) or held.shape[dim] * ranks < shape[dim]:
        return None
    return Place(held.narrow(dim, 0, stop - start), slice_of(shape, dim, start, stop))


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
