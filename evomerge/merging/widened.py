"""Where config.json keeps the widths of layers, and the config of a wider model."""

import re
from collections.abc import Mapping, Sequence
from math import gcd
from typing import Any

from evomerge.alignment.groups import Group
from evomerge.alignment.widths import Roles
from evomerge.errors import CheckpointError

_FREE_HEADS = ("llama", "mistral", "mixtral", "qwen3", "gemma", "gemma2")
"""Model types whose heads need not add up to the hidden size: config.json has `head_dim`."""
_DIVIDING_HEADS = ("llama", "gemma2")
"""Those of them whose number of heads must divide the hidden size in transformers."""


def alike(name: str) -> str:
    """What the names of groups that a config gives one width have in common."""
    return re.sub(r"\.\d+(?=\.|$)", ".*", name)


def grows(config: Mapping[str, Any], group: Group) -> bool:
    """Whether there is a config for more units of a group."""
    if group.kind == "heads":
        return config.get("model_type") in _FREE_HEADS
    return group.kind == "mlp" and _width_key(config, group.name) is not None


def room_for(config: Mapping[str, Any], group: Group, size: int) -> int:
    """The least number of units, `size` or more, that a config can say.

    Hidden units keep the divisor that they have: kernels want multiples of 8 or 16.
    """
    if group.kind == "mlp":
        unit = gcd(group.size, 16)
        return -(-size // unit) * unit
    if group.kind != "heads" or config.get("model_type") not in _DIVIDING_HEADS:
        return size
    repeats, width = int(config["num_attention_heads"]) // group.size, int(config["hidden_size"])
    fitting = (n for n in range(size, width + 1) if width % (repeats * n) == 0)
    return next(fitting, size)


def widths_of(config: Mapping[str, Any], group: Group) -> list[int]:
    """The numbers of units that a config can say, from what the group has to twice as many."""
    sizes = range(group.size, 2 * group.size + 1)
    return [size for size in sizes if size == group.size or room_for(config, group, size) == size]


def widened_config(
    config: Mapping[str, Any], groups: Sequence[Group], roles: Mapping[str, Roles]
) -> dict[str, Any]:
    """The config of the merged model. Raises CheckpointError where it has no place for a width."""
    found = dict(config)
    for group in groups:
        wide = roles.get(group.name)
        if wide is None:
            continue
        if not grows(config, group):
            raise CheckpointError(
                f"{group.name} cannot be widened: config.json of a "
                f"{config.get('model_type')} has no place for it",
                remedy="let ratio be 0 there: ratio: [{filter: mlp, value: 0.5}, {value: 0}]",
            )
        found.update(_changes(config, group, wide.size))
    return found


def _changes(config: Mapping[str, Any], group: Group, size: int) -> dict[str, Any]:
    if group.kind == "mlp":
        return {str(_width_key(config, group.name)): size}
    heads, inner = int(config["num_attention_heads"]), int(group.inner_size)
    repeats = heads // group.size
    return {
        "num_attention_heads": repeats * size,
        "num_key_value_heads": size,
        "head_dim": inner,
    }


def _width_key(config: Mapping[str, Any], name: str) -> str | None:
    if "shared_expert" in name:
        keys: tuple[str, ...] = ("shared_expert_intermediate_size",)
    elif ".experts." in name:
        keys = ("moe_intermediate_size", "intermediate_size")
    else:
        keys = ("intermediate_size", "ffn_dim")
    if config.get("model_type") == "gpt2":
        return "n_inner"
    return next((key for key in keys if key in config), None)
