"""M-SMoE and MC-SMoE on checkpoints with experts in tensors of their own (Mixtral, Qwen-MoE, OLMoE).

With `router: keep` the model keeps its routing: an expert's place holds its group's weights, and a token
that picks a group twice has it twice, as in the paper. With `router: reduce` there is one expert a group;
its router row is the mean of its members', weighted as they are. `form: grouped` keeps the routing and
stores each group once (`evomerge.merging.grouped`).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from evomerge.alignment.compression import GatedExpert, compress, narrowed
from evomerge.alignment.experts import (
    Expert,
    Floats,
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
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.grouped import GroupedWriter
from evomerge.merging.mixtures import (
    EXPERT,
    Layer,
    is_down,
    kept_width,
    mixtures_of,
    reduced_config,
    width_key,
)
from evomerge.merging.rebuilt import RebuiltCheckpoint, Request, index_of
from evomerge.merging.reordered import read

_RIDGE = 1e-3
"""How much a narrower expert's down matrix holds on to what it was."""
_ACTS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": torch.nn.functional.silu,
    "gelu": torch.nn.functional.gelu,
}


def build_m_smoe(request: Request) -> RebuiltCheckpoint:
    """The model with merged experts. Raises CheckpointError where it has none in tensors of their own."""
    model = request.models[request.names[0]]
    merger = _Merger(request, model, mixtures_of(model.index))
    mark = f"m_smoe:{request.recipe.recipe_id}"
    if merger.values["form"] == "grouped":
        return _grouped(merger, mark)
    index = index_of(model.index, dict(merger.shapes()), merger.config())
    return RebuiltCheckpoint(index, merger.tensor, mark)


def _grouped(merger: "_Merger", mark: str) -> RebuiltCheckpoint:
    if merger.reduced:
        raise CheckpointError(
            "form: grouped keeps the router, and stores each group once",
            remedy="write router: keep, or form: stock",
        )
    leaders = {home: found.tolist() for home, found in merger.leaders.items()}
    rank, rows = float(merger.values["rank"]), float(merger.values["rows"])
    writer = GroupedWriter(merger.layers, leaders, merger.width, rank, rows)
    config = writer.config(merger.config())
    shapes, dtypes = writer.tensors(dict(merger.shapes()))
    index = index_of(merger.model.index, shapes, config, dtypes)
    return RebuiltCheckpoint(
        index, lambda name: writer.make(name, merger.whole, merger.tensor), mark
    )


@dataclass
class _Merger:
    """Merged experts, worked out when they are asked for."""

    request: Request
    model: Checkpoint
    layers: tuple[Layer, ...]
    _last: dict[tuple[str, int], dict[str, Tensor]] = field(default_factory=dict)

    @cached_property
    def values(self) -> dict[str, Any]:
        return self.request.shared

    @property
    def reduced(self) -> bool:
        return bool(self.values["router"] == "reduce")

    @cached_property
    def width(self) -> int:
        """Hidden units of a merged expert."""
        first = self.layers[0]
        own = self.model.index.tensors[first.name(0, first.down)].shape[1]
        return kept_width(own, float(self.values["hidden"]))

    def config(self) -> dict[str, Any]:
        """config.json of what is written in tensors of experts' own."""
        found = dict(self.model.index.config)
        if float(self.values["hidden"]) < 1.0:
            found[width_key(found)] = self.width
        return reduced_config(found, self.counts) if self.reduced else found

    @cached_property
    def routing(self) -> dict[str, Tensor]:
        return self.request.statistics().model_values("routing", self.request.names[0])

    @cached_property
    def reaching(self) -> dict[str, Tensor]:
        """What reaches each router, [T, M]."""
        name = self.request.names[0]
        return self.request.statistics().crosswise("activations", name, (name,))

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
    def leaders(self) -> dict[str, NDArray[np.int64]]:
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
            hit = EXPERT.match(name)
            home = hit["home"] if hit else name.removesuffix(".gate.weight")
            if hit and (not self.reduced or int(hit["number"]) < counts[home]):
                high, wide = info.shape
                yield name, (high, self.width) if is_down(hit["part"]) else (self.width, wide)
            elif not hit and self.reduced and home in counts:
                yield name, (counts[home], *info.shape[1:])
            elif not hit:
                yield name, info.shape

    def tensor(self, name: str) -> Tensor:
        hit = EXPERT.match(name)
        own = {layer.home: layer for layer in self.layers}
        if hit is not None:
            layer, number = own[hit["home"]], int(hit["number"])
            leaders = self.leaders[layer.home]
            leader = int(np.unique(leaders)[number] if self.reduced else leaders[number])
            whole = self.whole(layer, leader, hit["part"])
            return compress(whole, float(self.values["rank"]), float(self.values["rows"]))
        home = name.removesuffix(".gate.weight")
        if self.reduced and home in own:
            return self._router(own[home])
        return self._read(name)

    def whole(self, layer: Layer, leader: int, part: str) -> Tensor:
        """A part of a group's expert, before it is made low-rank."""
        if self.width == self.model.index.tensors[layer.name(0, layer.down)].shape[1]:
            return self._merged(layer, leader, part)
        key = layer.home, leader
        if key not in self._last:  # its parts are asked for in a row
            parts = {one: self._merged(layer, leader, one) for one in layer.parts}
            self._last = {key: self._narrowed(layer, leader, parts)}
        return self._last[key][part]

    def _narrowed(self, layer: Layer, leader: int, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        """The parts with fewer hidden units, fitted to the tokens that the router sends there."""
        gate, up, down = self._gated(layer)
        expert = GatedExpert(parts[gate], parts[up], parts[down])
        inputs = self._arriving(layer, leader)
        made = narrowed(expert, self.width, inputs, self._act, _RIDGE)
        return {gate: made.gate, up: made.up, down: made.down}

    def _arriving(self, layer: Layer, leader: int) -> Tensor:
        """What reaches a group's experts, [T, M]: all that reaches the router where nothing does."""
        x_TM = self.reaching[layer.router].float()
        chosen = int(self.model.index.config.get("num_experts_per_tok") or 1)
        logits_TE = x_TM @ self._read(layer.router).float().T
        top_TK = logits_TE.topk(min(chosen, layer.experts)).indices
        members = torch.from_numpy(np.flatnonzero(self.leaders[layer.home] == leader))
        here = torch.isin(top_TK, members).any(1)
        return x_TM[here] if here.any() else x_TM

    def _merged(self, layer: Layer, leader: int, part: str) -> Tensor:
        members = np.flatnonzero(self.leaders[layer.home] == leader).tolist()
        if len(members) == 1:
            return self._read(layer.name(leader, part))
        shares = self._shares(layer, members)
        tensors = {one: self._read(layer.name(one, part)) for one in members}
        orders = dict(enumerate(self._orders(layer)))
        return merge_units(tensors, shares, orders, leader, 1 if is_down(part) else 0)

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
        tensors = self.model.index.tensors
        if not self.values["reorder"]:
            return [np.arange(tensors[layer.name(0, layer.down)].shape[1])] * layer.experts
        marks = [
            self.model.fingerprint(tensors[layer.name(one, part)])
            for one in range(layer.experts)
            for part in layer.parts
        ]

        def find() -> NDArray[np.int64]:
            return np.stack(expert_orders([self._expert(layer, n) for n in range(layer.experts)]))

        return list(self.request.cache.get(("expert_orders", marks), find))

    def _expert(self, layer: Layer, number: int) -> Expert:
        ups = tuple(self._read(layer.name(number, p)) for p in layer.parts if p != layer.down)
        return Expert(ups, self._read(layer.name(number, layer.down)))

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
            flat = torch.stack(
                [
                    self._read(layer.name(n, part))
                    .float()
                    .index_select(1 if is_down(part) else 0, torch.from_numpy(order))
                    .reshape(-1)
                    for n, order in enumerate(orders)
                ]
            )
            total += (flat @ flat.T).double().numpy()
        return similarities(total)

    def _similar_outputs(self, layer: Layer) -> Floats:
        """By their mean output on what goes into the router (as HC-SMoE, Chen et al. 2025)."""
        x_TM, means = self.reaching[layer.router], []
        for n in range(layer.experts):
            gate, up, down = (self._read(layer.name(n, part)) for part in self._gated(layer))
            hidden_TI = GatedExpert(gate, up, down).hidden(x_TM, self._act)
            means.append((hidden_TI @ down.float().T).mean(0))
        stacked = torch.stack(means).double()
        return similarities((stacked @ stacked.T).numpy())

    def _gated(self, layer: Layer) -> tuple[str, str, str]:
        """The names of gate, up and down."""
        if layer.gate is None or len(layer.parts) != 3:
            raise CheckpointError(
                f"experts of {layer.home} have no gate: what they answer is not known",
                remedy="leave hidden out, and similarity: expert_outputs",
            )
        return layer.gate, layer.up, layer.down

    @property
    def _act(self) -> Callable[[Tensor], Tensor]:
        name = str(self.model.index.config.get("hidden_act", "silu"))
        if name not in _ACTS:
            raise CheckpointError(
                f"the activation {name} of the experts is not known",
                remedy="leave hidden out, and similarity: expert_outputs",
            )
        return _ACTS[name]

    def _read(self, name: str) -> Tensor:
        return read(self.model)(name)
