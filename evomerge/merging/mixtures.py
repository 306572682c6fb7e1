"""Mixtures of experts in a checkpoint: which tensors are whose, and where config.json counts them.

Known are checkpoints whose experts lie in tensors of their own: named as Mixtral's, Qwen-MoE's, OLMoE's.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, gcd
from typing import Any

from evomerge.errors import CheckpointError
from evomerge.layout import CheckpointIndex

EXPERT = re.compile(r"^(?P<home>.+)\.experts\.(?P<number>\d+)\.(?P<part>\w+)\.weight$")
_COUNTS = ("num_local_experts", "num_experts")
_WIDTHS = ("moe_intermediate_size", "intermediate_size")
_DOWN = ("w2", "down_proj")
_GATE = ("w1", "gate_proj")


@dataclass(frozen=True)
class Layer:
    """The mixture of one layer: its name, its number of experts, the parts that each one has."""

    home: str
    experts: int
    parts: tuple[str, ...]

    @property
    def router(self) -> str:
        return f"{self.home}.gate.weight"

    @property
    def down(self) -> str:
        return next(part for part in self.parts if part in _DOWN)

    @property
    def gate(self) -> str | None:
        """The part whose answer the activation is of; None where there is none."""
        return next((part for part in self.parts if part in _GATE), None)

    @property
    def up(self) -> str:
        return next(part for part in self.parts if part not in {self.down, self.gate})

    def name(self, expert: int, part: str) -> str:
        return f"{self.home}.experts.{expert}.{part}.weight"


def is_down(part: str) -> bool:
    """Whether a part reads hidden units."""
    return part in _DOWN


def mixtures_of(index: CheckpointIndex) -> tuple[Layer, ...]:
    """The mixtures of a model, first layer first. Raises CheckpointError where there is none."""
    found: dict[str, dict[int, set[str]]] = {}
    for name in index.tensors:
        if hit := EXPERT.match(name):
            own = found.setdefault(hit["home"], {})
            own.setdefault(int(hit["number"]), set()).add(hit["part"])
    layers = [
        Layer(home, len(own), tuple(sorted(next(iter(own.values())))))
        for home, own in sorted(found.items(), key=lambda pair: _numbers(pair[0]))
    ]
    odd = [x for x in layers if x.router not in index.tensors or not set(_DOWN) & set(x.parts)]
    if not layers or odd:
        raise CheckpointError(
            "no mixture of experts whose experts lie in tensors of their own",
            where=index.name,
            remedy="m_smoe knows checkpoints named as Mixtral's, Qwen-MoE's and OLMoE's",
        )
    return tuple(layers)


def reduced_config(config: Mapping[str, Any], counts: Sequence[int]) -> dict[str, Any]:
    """The config with fewer experts. CheckpointError where layers differ, or it names no number."""
    key = next((key for key in _COUNTS if key in config), None)
    if key is None or len(set(counts)) > 1:
        what = "config.json names no number of experts"
        if key is not None:
            what = f"layers with {min(counts)} to {max(counts)} groups: a config has one number"
        raise CheckpointError(
            what, remedy="write allocation: layer, or router: keep, which changes no shape"
        )
    chosen = min(int(config.get("num_experts_per_tok") or 1), counts[0])
    return {**config, key: counts[0], "num_experts_per_tok": chosen}


def width_key(config: Mapping[str, Any]) -> str:
    """Where a config says how many hidden units an expert has."""
    found = next((key for key in _WIDTHS if key in config), None)
    if found is None:
        raise CheckpointError(
            "config.json does not say how many hidden units an expert has",
            remedy="leave hidden out",
        )
    return found


def kept_width(width: int, share: float) -> int:
    """The hidden units that a share of them is, rounded up to the divisor that kernels want."""
    unit = gcd(width, 16)
    return min(width, -(-ceil(share * width - 1e-9) // unit) * unit)


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]
