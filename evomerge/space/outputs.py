"""What keeps a model's layers from being stacked, and which of their tensors write to the stream.

A layer adds to the stream what its attention and its MLP project back into it. Multiplying those two
projections is how the size of a layer's input is expressed, and it needs layers of the form
x + f(norm(x)): a norm behind the projection would undo it.
"""

from collections.abc import Iterator

from evomerge.errors import SpecError
from evomerge.layout import CheckpointIndex, layer_of
from evomerge.space.areas import roles
from evomerge.space.layers import LayersSpec

ATTENTION_OUTPUTS = ("o_proj", "out_proj", "c_proj", "attention.dense", "self_attn.dense")
MLP_OUTPUTS = ("down_proj", "dense_4h_to_h", "c_proj", "fc_out", "fc2", ".w2.")
NORMS_BEHIND = ("post_feedforward_layernorm", "post_mlp_layernorm", "post_self_attn_layernorm")


def output_filters(index: CheckpointIndex) -> tuple[str, ...]:
    """Filters of the projections that write to the stream; none where one of the two is unknown."""
    names = [role for role in roles(index) if role not in index.outer_tensors]
    found = [
        next((mark for mark in marks if any(mark in name for name in names)), None)
        for marks in (ATTENTION_OUTPUTS, MLP_OUTPUTS)
    ]
    known = tuple(dict.fromkeys(mark for mark in found if mark is not None))
    return known if None not in found else ()


def stacking_problems(
    layers: LayersSpec, models: int, index: CheckpointIndex
) -> Iterator[SpecError]:
    """Why the layers of the base and `models` fine-tunes cannot be stacked as `layers` asks."""
    have = index.num_layers
    most = have * layers.repeats * (models + 1)
    if not have or not _alike(index):
        yield SpecError(
            "the base model's layers are not all alike, so they cannot change places",
            where="space.layers",
            remedy="search a merge of the models instead, such as `space: ties_per_layer`",
        )
    elif layers.depth(have) < have:
        yield SpecError(
            f"{layers.max_layers} is below the base model's {have} layers, where the search starts",
            where="space.layers.max_layers",
            remedy=f"write {have} or more",
        )
    elif layers.depth(have) > most:
        yield SpecError(
            f"there are {most} layers in all ({models + 1} models, repeats: {layers.repeats})",
            where="space.layers.max_layers",
            remedy=f"write {most} or less, or raise repeats",
        )
    if layers.scale is not None:
        yield from _scale_problems(index)


def _scale_problems(index: CheckpointIndex) -> Iterator[SpecError]:
    behind = [mark for mark in NORMS_BEHIND if any(mark in name for name in index.tensors)]
    if behind or not output_filters(index):
        why = (
            f"normalise what they add ({behind[0]})" if behind else "have outputs of unknown names"
        )
        yield SpecError(
            f"the base model's layers {why}, so their inputs cannot be scaled",
            where="space.layers.scale",
            remedy="write `scale: null`",
        )


def _alike(index: CheckpointIndex) -> bool:
    """Whether all layers have the same tensors, shapes and kind of attention."""
    found: dict[int, set[tuple[str, tuple[int, ...]]]] = {}
    for name, info in index.tensors.items():
        layer = layer_of(name)
        if layer is not None:
            found.setdefault(layer, set()).add((name.split(f".{layer}.", 1)[1], info.shape))
    kinds = index.config.get("layer_types") or ()
    return all(one == found.get(0) for one in found.values()) and len(set(kinds)) <= 1
