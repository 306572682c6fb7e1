"""Residual networks from different seeds, merged: average, permutations, PLeaS at several widths.

    python -m benchmarks.structure_resnets [--pairs N]

Pairs of small ResNets are trained on noisy pictures of ten shifted patterns. Every merge has its batch
norms' statistics estimated again on 100 batches of training pictures, as the paper does; the average is
shown without that as well. Pictures that weights of groups are measured on are neither trained nor reported
on. Prints the table of docs/permutations.md; `size` is parameters over one network's.
"""

import argparse
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.structure_methods import CLASSES, SIDE, pictures
from evomerge.alignment.activations import answer_scores, match_activations
from evomerge.alignment.allocation import allocate, cost_terms, published_weights
from evomerge.alignment.convolutions import fit_convolution
from evomerge.alignment.groups import Group
from evomerge.alignment.permute import Order, Orders, Permuter
from evomerge.alignment.resnets import resnet_groups
from evomerge.alignment.squares import blend, solve
from evomerge.alignment.weights import match_weights, reader
from evomerge.alignment.widths import Side, Widening, by_share, cost

WIDTH, BATCH, STEPS, BATCHES = 12, 64, 400, 100
TEXTS, BUDGET = 256, 1.4
Tensors = dict[str, Tensor]
Two = tuple[Tensor, Tensor]


class Block(nn.Module):
    """Two convolutions and what goes around them."""

    def __init__(self, narrow: int, wide: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(narrow, wide, 3, stride, 1, bias=False)
        self.bn1, self.bn2 = nn.BatchNorm2d(wide), nn.BatchNorm2d(wide)
        self.conv2 = nn.Conv2d(wide, wide, 3, 1, 1, bias=False)
        around = [nn.Conv2d(narrow, wide, 1, stride, bias=False), nn.BatchNorm2d(wide)]
        self.downsample = nn.Sequential(*around) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
        return (y + self.downsample(x)).relu()


class ResNet(nn.Module):
    """A stem and two stages of one block each, with torchvision's names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, WIDTH, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(WIDTH)
        self.layer1 = nn.Sequential(Block(WIDTH, WIDTH, 1))
        self.layer2 = nn.Sequential(Block(WIDTH, 2 * WIDTH, 2))
        self.fc = nn.Linear(2 * WIDTH, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.layer2(self.layer1(self.bn1(self.conv1(x)).relu()))
        return self.fc(x.mean((2, 3)))


def trained(seed: int, x: Tensor, labels: Tensor) -> ResNet:
    """A network from a seed of its own, which also draws its batches."""
    torch.manual_seed(seed)
    model = ResNet()
    optimizer = torch.optim.AdamW(model.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=STEPS)
    for _ in range(STEPS):
        chosen = torch.randint(0, len(x), (BATCH,))
        loss = nn.functional.cross_entropy(model(x[chosen]), labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return model.eval()


def tensors_of(model: ResNet) -> Tensors:
    return {name: x.clone() for name, x in model.state_dict().items() if x.is_floating_point()}


def network_of(tensors: Mapping[str, Tensor]) -> ResNet:
    """A network of these tensors, whatever their widths."""
    model = ResNet().eval()
    for name, tensor in tensors.items():
        owner, _, leaf = name.rpartition(".")
        module = model.get_submodule(owner)
        kept = tensor if leaf.startswith("running") else nn.Parameter(tensor, requires_grad=False)
        setattr(module, leaf, kept)
    return model


@torch.no_grad()
def reset(model: ResNet, x: Tensor) -> ResNet:
    """Estimate the statistics of batch norms again."""
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    model.train()
    for batch in x[: BATCHES * BATCH].split(BATCH):
        model(batch)
    return model.eval()


@torch.no_grad()
def right(model: ResNet, x: Tensor, labels: Tensor) -> float:
    """The share of pictures whose class is recognised."""
    return float((model(x).argmax(1) == labels).float().mean())


@torch.no_grad()
def inputs_of(model: ResNet, x: Tensor) -> Tensors:
    """What goes into every convolution [T, C, H, W] and into the head [T, C]."""
    found: Tensors = {}
    hooks = [
        module.register_forward_pre_hook(
            lambda _, given, name=name: found.__setitem__(f"{name}.weight", given[0])
        )
        for name, module in model.named_modules()
        if isinstance(module, nn.Conv2d | nn.Linear)
    ]
    model(x)
    for hook in hooks:
        hook.remove()
    return found


def units(x: Tensor) -> Tensor:
    """Channels last, one row a position, as matching wants them."""
    rows = x.movedim(1, -1).reshape(-1, x.shape[1]) if x.dim() == 4 else x
    return rows[:: -(-len(rows) // 4096)]


@dataclass
class Pair:
    """Two trained networks, and everything that is made of them."""

    one: ResNet
    two: ResNet
    seen: Tensor
    held: tuple[Tensor, Tensor]

    @cached_property
    def first(self) -> Tensors:
        return tensors_of(self.one)

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: tuple(x.shape) for name, x in self.first.items()}

    @cached_property
    def groups(self) -> tuple[Group, ...]:
        return resnet_groups(self.shapes)

    @cached_property
    def answers(self) -> dict[str, tuple[Tensor, Tensor]]:
        one, two = (inputs_of(model, self.seen[:TEXTS]) for model in (self.one, self.two))
        return {name: (units(one[name]), units(two[name])) for name in one}

    @cached_property
    def orders(self) -> dict[str, Order]:
        return match_activations(self.groups, self.answers)

    def moved(self, orders: Orders) -> Tensors:
        permuter = Permuter(self.groups)
        return {n: permuter.apply(n, x, orders) for n, x in tensors_of(self.two).items()}

    @cached_property
    def second(self) -> Tensors:
        return self.moved(self.orders)

    @cached_property
    def inputs(self) -> tuple[Tensors, Tensors]:
        """Of both networks, the second's in the order that fits."""
        seen = self.seen[:TEXTS]
        return inputs_of(self.one, seen), inputs_of(network_of(self.second), seen)

    def pleas(self, ratios: Mapping[str, float], *, fit: bool = True) -> tuple[ResNet, float]:
        """The partial merge, fitted unless told otherwise, and its size."""
        scores = answer_scores(self.groups, self.answers, self.orders)
        roles = by_share(scores, ratios)
        widening = Widening(self.groups, {n: r for n, r in roles.items() if r.apart})
        merged = {n: widening.merge(n, self.first[n], self.second[n]) for n in self.first}
        if fit:
            merged |= self._fitted(widening, merged)
        return reset(network_of(merged), self.seen), cost(self.groups, self.shapes, roles)

    def _fitted(self, widening: Widening, merged: Tensors) -> Tensors:
        found: Tensors = {}
        for name, module in self.one.named_modules():
            key = f"{name}.weight"
            if not isinstance(module, nn.Conv2d | nn.Linear):
                continue
            pair = self.first[key], self.second[key]
            given = self.inputs[0][key], self.inputs[1][key]
            sides = widening.sides(key, self.shapes[key])
            if isinstance(module, nn.Conv2d):
                steps = {"stride": module.stride[0], "padding": int(module.padding[0])}
                found[key] = fit_convolution(merged[key], pair, given, sides, **steps)
            else:
                found |= self._head(name, sides, pair, given, merged)
        return found

    def _head(
        self,
        name: str,
        sides: dict[int, Side],
        pair: Two,
        given: Two,
        merged: Tensors,
    ) -> Tensors:
        """The head with its bias."""
        biases = self.first[f"{name}.bias"], self.second[f"{name}.bias"]
        answers = [x @ w.T + b for x, w, b in zip(given, pair, biases, strict=True)]
        width, same = pair[0].shape[1], (np.arange(CLASSES), np.zeros(CLASSES, np.int64))
        side = sides.get(1)
        read = (side.index, side.roles) if side else (np.arange(width), np.zeros(width, np.int64))
        weight, bias = solve(
            merged[f"{name}.weight"],
            merged[f"{name}.bias"],
            blend(given[0], given[1], *read),
            blend(answers[0], answers[1], *same),
            (same[1], read[1]),
            0.01,
        )
        return {f"{name}.weight": weight, f"{name}.bias": bias}

    def even(self, ratio: float) -> dict[str, float]:
        return {group.name: ratio for group in self.groups}

    def programme(self, budget: float) -> dict[str, float]:
        """The paper's ratios, by scores on held-out pictures of merges that are not fitted."""
        names = [group.name for group in self.groups]
        terms = cost_terms(self.groups, self.shapes, {name: name for name in names})

        def score(ratios: Mapping[str, float]) -> float:
            return right(self.pleas(ratios, fit=False)[0], *self.held)

        return dict(allocate(terms, published_weights(score, names, budget), budget).ratios)

    def evenly_within(self, budget: float) -> dict[str, float]:
        """The largest ratio for all groups alike."""
        terms = cost_terms(self.groups, self.shapes, {g.name: "all" for g in self.groups})
        return self.even(allocate(terms, {"all": 1.0}, budget).ratios["all"])


def rows_of(pair: Pair) -> dict[str, Callable[[], tuple[ResNet, float]]]:
    """The merges of the table."""
    by_weights = match_weights(pair.groups, reader(pair.first), reader(tensors_of(pair.two)))

    def mean(other: Tensors, *, again: bool = True) -> tuple[ResNet, float]:
        model = network_of({n: (x + other[n]) / 2 for n, x in pair.first.items()})
        return (reset(model, pair.seen) if again else model), 1.0

    return {
        "average, its statistics averaged too": lambda: mean(tensors_of(pair.two), again=False),
        "average": lambda: mean(tensors_of(pair.two)),
        "align: permutation, average": lambda: mean(pair.moved(by_weights)),
        "align: activations, average": lambda: mean(pair.second),
        **{
            f"PLeaS, r = {ratio}": lambda ratio=ratio: pair.pleas(pair.even(ratio))
            for ratio in (0.0, 0.25, 0.5, 1.0)
        },
        "PLeaS without least squares, r = 0.25": lambda: pair.pleas(pair.even(0.25), fit=False),
        "PLeaS without least squares, r = 0.5": lambda: pair.pleas(pair.even(0.5), fit=False),
        f"PLeaS, budget {BUDGET}, by the programme": lambda: pair.pleas(pair.programme(BUDGET)),
        f"PLeaS, budget {BUDGET}, evenly": lambda: pair.pleas(pair.evenly_within(BUDGET)),
    }


def main() -> None:
    """Train, merge, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pairs", type=int, default=3)
    count = parser.parse_args().pairs
    torch.set_num_threads(1)
    drawn = [pictures(n, seed) for n, seed in ((20_000, 99), (2000, 1), (1000, 2))]
    (x, labels), test, held = [(a.view(-1, 1, SIDE, SIDE), b) for a, b in drawn]
    found: dict[str, list[tuple[float, float]]] = {}
    for number in range(count):
        start = time.process_time()
        one, two = (trained(10 * number + seed, x, labels) for seed in (1, 2))
        pair = Pair(one, two, x, held)
        each = [right(model, *test) for model in (one, two)]
        print(f"pair {number}: {each}, {time.process_time() - start:.0f} CPU s", flush=True)
        found.setdefault("the better network", []).append((max(each), 1.0))
        for name, merge in rows_of(pair).items():
            model, size = merge()
            found.setdefault(name, []).append((right(model, *test), size))
    print(f"| | right, of {count} pairs | size |\n|---|---|---|")
    for name, own in found.items():
        values, sizes = zip(*own, strict=True)
        shown = f"{np.mean(values):.3f} ({min(values):.3f} to {max(values):.3f})"
        print(f"| {name} | {shown} | {np.mean(sizes):.2f} |")


if __name__ == "__main__":
    main()
