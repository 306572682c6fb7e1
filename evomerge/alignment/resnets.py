"""The groups of a ResNet, from tensor names as torchvision has them (He et al. 2016).

    layerS.B.C      channels between the convolutions of one block
    stream.S        the residual stream of a stage: what its blocks read and write, and the stem before it

Batch norms count with the convolution before them: gains, biases and running statistics. Where a stage
begins without `downsample`, it shares the stream of the one before.
"""

import re
from collections.abc import Iterator

from evomerge.alignment.groups import Axis, Group, Shapes, check_groups
from evomerge.errors import CheckpointError

_NORM = ("weight", "bias", "running_mean", "running_var")


def resnet_groups(shapes: Shapes) -> tuple[Group, ...]:
    """The groups of a ResNet. Raises CheckpointError where its names are not torchvision's."""
    if "conv1.weight" not in shapes or "fc.weight" not in shapes:
        raise CheckpointError(
            "no conv1.weight and fc.weight: not a ResNet named as torchvision's",
            remedy="rename its tensors so",
        )
    streams, inner = _walk(shapes)
    groups = (
        *(_group(f"stream.{n}", axes, shapes) for n, axes in enumerate(streams)),
        *(_group(name, axes, shapes) for name, axes in inner.items()),
    )
    check_groups(groups, shapes)
    return groups


def _walk(shapes: Shapes) -> tuple[list[list[Axis]], dict[str, list[Axis]]]:
    """The axes of every stream and of every convolution within a block."""
    streams, inner = [list(_made("conv1", "bn1", shapes))], {}
    for block in _blocks(shapes):
        count = max(int(name) for name in re.findall(rf"{block}\.conv(\d)", " ".join(shapes)))
        streams[-1].append(Axis(f"{block}.conv1.weight", 1, "in"))
        if f"{block}.downsample.0.weight" in shapes:
            streams[-1].append(Axis(f"{block}.downsample.0.weight", 1, "in"))
            streams.append(list(_made(f"{block}.downsample.0", f"{block}.downsample.1", shapes)))
        for number in range(1, count):
            made = list(_made(f"{block}.conv{number}", f"{block}.bn{number}", shapes))
            read = Axis(f"{block}.conv{number + 1}.weight", 1, "in")
            inner[f"{block}.{number}"] = [*made, read]
        streams[-1] += _made(f"{block}.conv{count}", f"{block}.bn{count}", shapes)
    streams[-1].append(Axis("fc.weight", 1, "in"))
    return streams, inner


def _made(convolution: str, norm: str, shapes: Shapes) -> Iterator[Axis]:
    """The axes along which a convolution and its norm produce channels."""
    names = [f"{convolution}.weight", f"{convolution}.bias", *(f"{norm}.{end}" for end in _NORM)]
    return (Axis(name, 0, "out") for name in names if name in shapes)


def _blocks(shapes: Shapes) -> list[str]:
    found = {hit[1] for name in shapes if (hit := re.match(r"(layer\d+\.\d+)\.", name))}
    return sorted(found, key=lambda block: [int(part) for part in re.findall(r"\d+", block)])


def _group(name: str, axes: list[Axis], shapes: Shapes) -> Group:
    return Group(name, "channels", shapes[axes[0].tensor][axes[0].dim], tuple(axes))
