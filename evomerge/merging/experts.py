"""M-SMoE and MC-SMoE on checkpoints with experts in tensors of their own (Mixtral, Qwen-MoE, OLMoE).

With `router: keep` the model keeps its shapes and its routing: an expert's place holds its group's weights,
and a token that picks a group twice has it twice, as in the paper. With `router: reduce` there is one
expert a group; its router row is the mean of its members', weighted as they are.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evomerge.alignment.experts import (
    Expert,
    Floats,
    compress,
    expert_orders,
    group_experts,
    groups_by_layer,
    merge_units,
    shares_of,
    similarities,
)
from evomerge.alignment.permute import Order
from evomerge.calibration.collectors.routing import PRODUCTS, USAGE
from evomerge.errors import CheckpointError
from evomerge.layout import CheckpointIndex
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.rebuilt import RebuiltCheckpoint, Request, index_of
from evomerge.merging.reordered import read

_EXPERT = re.compile(r"^(?P<home>.+)\.experts\.(?P<number>\d+)\.(?P<part>\w+)\.weight$")
_COUNTS = ("num_local_experts", "num_experts")
_DOWN = ("w2", "down_proj")
_ACTS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
}


@dataclass(frozen=True)
class Layer:
    """The mixture of one layer: its name, its number of experts, the parts that each one has."""

    home: str
    experts: int
    parts: tuple[str, ...]

    @property
    def router(self) -> str:
        return f"{self.home}.gate.weight"

    def name(self, expert: int, part: str) -> str:
        return f"{self.home}.experts.{expert}.{part}.weight"


def build_m_smoe(request: Request) -> RebuiltCheckpoint:
    """The model with merged experts. Raises CheckpointError where it has none in tensors of their own."""
    model = request.models[request.names[0]]
    merger = _Merger(request, model, mixtures_of(model.index))
    shapes, config = dict(merger.shapes()), dict(model.index.config)
    if merger.reduced:
        config = reduced_config(config, merger.counts)
    index = index_of(model.index, shapes, config)
    return RebuiltCheckpoint(index, merger.tensor, f"m_smoe:{request.recipe.recipe_id}")


def mixtures_of(index: CheckpointIndex) -> tuple[Layer, ...]:
    """The mixtures of a model, first layer first."""
    found: dict[str, dict[int, set[str]]] = {}
    for name in index.tensors:
        if hit := _EXPERT.match(name):
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


@dataclass
class _Merger:
    """Merged experts, worked out when they are asked for."""

    request: Request
    model: Checkpoint
    layers: tuple[Layer, ...]

    @cached_property
    def values(self) -> dict[str, Any]:
        return self.request.shared

    @property
    def reduced(self) -> bool:
        return bool(self.values["router"] == "reduce")

    @cached_property
    def routing(self) -> dict[str, Tensor]:
        return self.request.statistics().model_values("routing", self.request.names[0])

    @cached_property
    def usage(self) -> dict[str, Floats]:
        """Of each layer's experts; equal where no token came."""
        found = {}
        for layer in self.layers:
            used = self.routing.get(layer.router + USAGE, torch.zeros(layer.experts))
            found[layer.home] = used.double().numpy()
        return found

    @cached_property
    def counts(self) -> list[int]:
        number = self.model.index.num_layers
        shares = [float(self.request.in_layer("keep", layer.home, number)) for layer in self.layers]
        usage = [self.usage[layer.home] for layer in self.layers]
        return groups_by_layer(usage, shares, together=self.values["allocation"] == "global")

    @cached_property
    def leaders(self) -> dict[str, np.ndarray[Any, np.dtype[np.int64]]]:
        """Of each layer, who leads each expert's group."""
        return {
            layer.home: group_experts(self.usage[layer.home], self._similar(layer), count)
            if count < layer.experts
            else np.arange(layer.experts)
            for layer, count in zip(self.layers, self.counts, strict=True)
        }

    def shapes(self) -> Iterator[tuple[str, tuple[int, ...]]]:
        """Every tensor of the merged model; fewer experts where the router is reduced."""
        counts = {x.home: n for x, n in zip(self.layers, self.counts, strict=True)}
        for name, info in self.model.index.tensors.items():
            hit = _EXPERT.match(name)
            home = hit["home"] if hit else name.removesuffix(".gate.weight")
            if not self.reduced or home not in counts:
                yield name, info.shape
            elif not hit:
                yield name, (counts[home], *info.shape[1:])
            elif int(hit["number"]) < counts[home]:
                yield name, info.shape

    def tensor(self, name: str) -> Tensor:
        hit = _EXPERT.match(name)
        own = {layer.home: layer for layer in self.layers}
        if hit is not None:
            layer = own[hit["home"]]
            leaders = self.leaders[layer.home]
            number = int(hit["number"])
            leader = int(np.unique(leaders)[number] if self.reduced else leaders[number])
            return self._merged(layer, leader, hit["part"])
        home = name.removesuffix(".gate.weight")
        if self.reduced and home in own:
            return self._router(own[home])
        return self._read(name)

    def _merged(self, layer: Layer, leader: int, part: str) -> Tensor:
        members = np.flatnonzero(self.leaders[layer.home] == leader).tolist()
        if len(members) == 1:
            merged = self._read(layer.name(leader, part))
        else:
            shares = self._shares(layer, members)
            tensors = {one: self._read(layer.name(one, part)) for one in members}
            orders = dict(enumerate(self._orders(layer)))
            dim = 1 if part in _DOWN else 0
            merged = merge_units(tensors, shares, orders, leader, dim)
        return compress(merged, float(self.values["rank"]), float(self.values["rows"]))

    def _router(self, layer: Layer) -> Tensor:
        rows_EN = self._read(layer.router).float()
        leaders = self.leaders[layer.home]
        found = []
        for leader in np.unique(leaders):
            shares = self._shares(layer, np.flatnonzero(leaders == leader).tolist())
            found.append(
                torch.stack([rows_EN[one] * share for one, share in shares.items()]).sum(0)
            )
        return torch.stack(found)

    def _shares(self, layer: Layer, members: list[int]) -> dict[int, float]:
        found = shares_of(members, self.usage[layer.home], float(self.values["usage_power"]))
        return dict(zip(members, found.tolist(), strict=True))

    def _orders(self, layer: Layer) -> list[Order]:
        """Orders of hidden units that fit the first expert's; kept for later candidates."""
        width = self.model.index.tensors[layer.name(0, self._down(layer))].shape[1]
        if not self.values["reorder"]:
            return [np.arange(width)] * layer.experts
        tensors = self.model.index.tensors
        marks = [
            self.model.fingerprint(tensors[layer.name(one, part)])
            for one in range(layer.experts)
            for part in layer.parts
        ]

        def find() -> np.ndarray[Any, np.dtype[np.int64]]:
            return np.stack(expert_orders([self._expert(layer, n) for n in range(layer.experts)]))

        return list(self.request.cache.get(("expert_orders", marks), find))

    def _expert(self, layer: Layer, number: int) -> Expert:
        down = self._down(layer)
        ups = tuple(self._read(layer.name(number, p)) for p in layer.parts if p != down)
        return Expert(ups, self._read(layer.name(number, down)))

    def _similar(self, layer: Layer) -> Floats:
        """How much the experts of a layer resemble each other, 0 to 1, [E, E]."""
        if self.values["similarity"] == "weights":
            return self._similar_weights(layer)
        if self.values["similarity"] == "expert_outputs":
            return self._similar_outputs(layer)
        found = self.routing.get(layer.router + PRODUCTS)
        if found is None:
            raise CheckpointError(
                f"no token reached the router of {layer.home}",
                where=self.request.names[0],
                remedy="measure it on longer texts",
            )
        return similarities(found.double().numpy())

    def _similar_weights(self, layer: Layer) -> Floats:
        """By all weights, units in one order."""
        orders = self._orders(layer)
        total = np.zeros((layer.experts, layer.experts))
        for part in layer.parts:
            dim = 1 if part in _DOWN else 0
            flat = torch.stack(
                [
                    self._read(layer.name(n, part))
                    .float()
                    .index_select(dim, torch.from_numpy(order))
                    .reshape(-1)
                    for n, order in enumerate(orders)
                ]
            )
            total += (flat @ flat.T).double().numpy()
        return similarities(total)

    def _similar_outputs(self, layer: Layer) -> Floats:
        """By their mean output on what goes into the router (as HC-SMoE, Chen et al. 2025)."""
        name = self.request.names[0]
        inputs = self.request.statistics().crosswise("activations", name, (name,))
        x_TN = inputs[layer.router].float()
        act = _ACTS[str(self.model.index.config.get("hidden_act", "silu"))]
        gate = "w1" if "w1" in layer.parts else "gate_proj"
        up = "w3" if "w1" in layer.parts else "up_proj"
        means = []
        for n in range(layer.experts):
            g, u, d = (
                self._read(layer.name(n, part)).float() for part in (gate, up, self._down(layer))
            )
            means.append(((act(x_TN @ g.T) * (x_TN @ u.T)) @ d.T).mean(0))
        stacked = torch.stack(means).double()
        return similarities((stacked @ stacked.T).numpy())

    @staticmethod
    def _down(layer: Layer) -> str:
        return next(part for part in layer.parts if part in _DOWN)

    def _read(self, name: str) -> Tensor:
        return read(self.model)(name)


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]
