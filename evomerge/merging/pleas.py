"""PLeaS on checkpoints: matching, partial merge, permuted least squares, the wider config.

A config has one width for all layers alike, so the narrower of them are filled up with units that produce
nothing: their inputs and outputs are zeros. The residual stream is matched and never widened: its
norms would mix both networks.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from evomerge.alignment.activations import answer_scores, match_activations
from evomerge.alignment.allocation import allocate, cost_terms, whole_widths
from evomerge.alignment.groups import Group, all_groups
from evomerge.alignment.permute import Order, Permuter
from evomerge.alignment.squares import blend, solve
from evomerge.alignment.weights import Costs, unit_scores
from evomerge.alignment.widths import Roles, Widening, roles_of, within_budget
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.rebuilt import RebuiltCheckpoint, Request, index_of
from evomerge.merging.reordered import check_alike, groups_of, matched, read
from evomerge.merging.widened import alike, grows, room_for, widened_config, widths_of

Answers = Mapping[str, tuple[Tensor, Tensor]]


def build_pleas(request: Request) -> RebuiltCheckpoint:
    """The merged model of a recipe's two models.

    Raises CheckpointError where they are not of one known architecture, or its config has no place
    for the width; NotFoundError where activations were not measured yet.
    """
    one, two = (request.models[name] for name in request.names)
    check_alike(one, two)
    groups = groups_of(one)
    merger = _Merger(request, one, two, groups)
    shapes = {name: info.shape for name, info in one.index.tensors.items()}
    wide = {name: merger.widening.shape(name, shape) for name, shape in shapes.items()}
    config = widened_config(one.index.config, groups, merger.roles)
    index = index_of(one.index, wide, config)
    return RebuiltCheckpoint(index, merger.tensor, f"pleas:{request.recipe.recipe_id}")


@dataclass
class _Merger:
    """Merged tensors, worked out when they are asked for."""

    request: Request
    one: Checkpoint
    two: Checkpoint
    groups: Sequence[Group]
    _solved: dict[str, tuple[Tensor, Tensor | None]] = field(default_factory=dict)

    @cached_property
    def values(self) -> dict[str, Any]:
        return self.request.shared

    @cached_property
    def answers(self) -> Answers:
        """Both networks' inputs of linear layers; nothing where they are not needed."""
        assert self.request.method.statistics is not None
        if not self.request.method.statistics(self.values):
            return {}
        calibrated = self.request.statistics()
        one, two = self.request.names
        ours, theirs = (calibrated.crosswise("activations", m, (one, two)) for m in (one, two))
        return {name: (ours[name], theirs[name]) for name in ours if name in theirs}

    @cached_property
    def orders(self) -> Mapping[str, Order]:
        if self.values["matching"] == "place":
            return {part.name: np.arange(part.size) for part in all_groups(self.groups)}
        if self.values["matching"] == "activations":
            return match_activations(self.groups, self.answers)
        seed, cache = self.request.recipe.seed, self.request.cache
        return matched(self.one, self.two, self.groups, cache, seed)

    @cached_property
    def scores(self) -> dict[str, Costs]:
        if self.values["matching"] == "activations":
            return answer_scores(self.groups, self.answers, self.orders)
        return unit_scores(self.groups, read(self.one), read(self.two), self.orders)

    @cached_property
    def roles(self) -> dict[str, Roles]:
        """Of the groups in which units stay apart, equally many in layers that are alike."""
        found = self._chosen()
        widest: dict[str, int] = {}
        for name, roles in found.items():
            widest[alike(name)] = max(widest.get(alike(name), 0), roles.size)
        return {
            name: roles.padded(widest[alike(name)])
            for name, roles in found.items()
            if widest[alike(name)] > len(self.scores[name])
        }

    @cached_property
    def widening(self) -> Widening:
        return Widening(self.groups, self.roles)

    @cached_property
    def permuter(self) -> Permuter:
        return Permuter(self.groups)

    def tensor(self, name: str) -> Tensor:
        """The merged tensor; with a bias, weight and bias are fitted together."""
        stem, _, part = name.rpartition(".")
        if f"{stem}.weight" in self.answers and part in {"weight", "bias"}:
            if stem not in self._solved:
                self._solved = {stem: self._fitted(stem)}  # both are asked for in a row
            weight, bias = self._solved[stem]
            found = weight if part == "weight" else bias
            assert found is not None
            return found
        return self._partial(name)

    def _chosen(self) -> Mapping[str, Roles]:
        growing = [group for group in self.groups if group.kind in {"mlp", "heads"}]
        budget = float(self.values["budget"])
        if budget > 0:
            able = [group for group in growing if grows(self.one.index.config, group)]
            return self._within(max(budget, 1.0), able)
        layers = self.one.index.num_layers
        ratios = {
            group.name: float(self.request.in_layer("ratio", group.name, layers))
            for group in growing
        }
        return self._apart(ratios)

    def _within(self, budget: float, able: Sequence[Group]) -> Mapping[str, Roles]:
        """What stays apart for at most `budget` times one network's parameters."""
        shapes = {name: info.shape for name, info in self.one.index.tensors.items()}
        if self.values["allocation"] == "even":
            names = [group.name for group in able]
            return within_budget(
                budget, lambda share: self._apart(dict.fromkeys(names, share)), self.groups, shapes
            )
        kinds = {group.name: alike(group.name) for group in able}
        levels = {
            kinds[g.name]: [n / g.size - 1.0 for n in widths_of(self.one.index.config, g)]
            for g in able
        }
        terms, weights = cost_terms(self.groups, shapes, kinds), self._weights(able)
        ratios = allocate(terms, weights, budget).ratios
        ratios = whole_widths(ratios, levels, terms, weights, budget)
        return self._apart({name: ratios[kind] for name, kind in kinds.items()})

    def _weights(self, able: Sequence[Group]) -> dict[str, float]:
        """What is gained by keeping groups apart that share a width: importance, or their misfit."""
        cosines, layers = self.values["matching"] != "activations", self.one.index.num_layers
        found: dict[str, float] = {}
        for group in able:
            own = float(self.request.in_layer("importance", group.name, layers))
            if own == 0:
                own = float(np.mean(float(cosines) - self.scores[group.name]))
            found[alike(group.name)] = found.get(alike(group.name), 0.0) + own
        return found

    def _apart(self, ratios: Mapping[str, float]) -> dict[str, Roles]:
        """Roles of groups of which at least these shares stay apart: as many as fill a width."""
        found = {}
        for group in self.groups:
            if group.name in ratios:
                wide = group.size + round(ratios[group.name] * group.size)
                room = room_for(self.one.index.config, group, wide) if wide > group.size else wide
                apart = min(group.size, room - group.size)
                found[group.name] = roles_of(self.scores[group.name], apart)
        return found

    def _pair(self, name: str) -> tuple[Tensor, Tensor]:
        """Both networks' tensors, fp32, the second's in the order that fits."""
        first, second = (read(model)(name).float() for model in (self.one, self.two))
        return first, self.permuter.apply(name, second, self.orders)

    def _partial(self, name: str) -> Tensor:
        return self.widening.merge(name, *self._pair(name))

    def _fitted(self, stem: str) -> tuple[Tensor, Tensor | None]:
        """The partial merge of a linear layer, and what least squares make of it."""
        name, bias = f"{stem}.weight", f"{stem}.bias"
        pair = self._pair(name)
        biases = self._pair(bias) if bias in self.one.index.tensors else None
        start, start_bias = self._partial(name), None if biases is None else self._partial(bias)
        if not self.values["least_squares"]:
            return start, start_bias
        sides = self.widening.sides(name, tuple(pair[0].shape))
        out = next(dim for dim, side in sides.items() if side.out)
        inputs = self._inputs(name, 1 - out)
        targets = [
            x @ (w.T if out == 0 else w) + (0.0 if biases is None else biases[number])
            for number, (x, w) in enumerate(zip(inputs, pair, strict=True))
        ]
        ends = [_ends(sides.get(dim), pair[0].shape[dim]) for dim in (out, 1 - out)]
        weight, fitted_bias = solve(
            start if out == 0 else start.T,
            start_bias,
            blend(inputs[0], inputs[1], *ends[1]),
            blend(targets[0], targets[1], *ends[0]),
            (ends[0][1], ends[1][1]),
            float(self.values["ridge"]),
        )
        return (weight if out == 0 else weight.T.contiguous()), fitted_bias

    def _inputs(self, name: str, dim: int) -> tuple[Tensor, Tensor]:
        """Both networks' inputs, the second's in the order that fits."""
        first, second = (inputs.float() for inputs in self.answers[name])
        shape = self.one.index.tensors[name].shape
        index = self.permuter.indices(name, shape, self.orders).get(dim)
        if index is not None:
            second = second.index_select(1, torch.from_numpy(index))
        return first, second


def _ends(side: Any, length: int) -> tuple[Order, Order]:
    """Of each entry of a merged dimension the matched one, and its role."""
    if side is None:
        return np.arange(length), np.zeros(length, np.int64)
    return side.index, side.roles
