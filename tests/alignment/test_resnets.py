"""ResNets through the same description: any order leaves the function, units apart hold both networks."""

import numpy as np
import pytest
import torch

from evomerge.alignment.convolutions import fit_convolution
from evomerge.alignment.groups import Axis, Group
from evomerge.alignment.resnets import resnet_groups
from evomerge.alignment.weights import match_weights, reader, unit_scores
from evomerge.alignment.widths import Widening, by_share, roles_of
from evomerge.errors import CheckpointError
from tests.alignment.networks import random_orders, shuffled
from tests.alignment.resnet import ResNet


def network(seed):
    """Random weights, gains and running statistics."""
    torch.manual_seed(seed)
    model = ResNet().eval()
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point():
            noise = torch.randn(tensor.shape) * 0.3
            tensor.copy_(noise.abs() + 0.5 if "var" in name else noise)
    return model


def tensors_of(model):
    return {name: x.clone() for name, x in model.state_dict().items() if x.is_floating_point()}


def groups_of(tensors):
    return resnet_groups({name: tuple(x.shape) for name, x in tensors.items()})


@torch.no_grad()
def answers(model):
    return model(torch.randn(3, 1, 12, 12, generator=torch.Generator().manual_seed(1)))


def test_any_order_of_all_channels_leaves_the_function_and_matching_undoes_it():
    model = network(0)
    expected, tensors = answers(model), tensors_of(model)
    groups = groups_of(tensors)
    moved = shuffled(tensors, groups, random_orders(groups, 1))
    assert len(groups) == 6
    model.load_state_dict(moved, strict=False)
    assert torch.allclose(answers(model), expected, atol=1e-5)
    orders = match_weights(groups, reader(tensors), reader(moved))
    back = shuffled(moved, groups, orders)
    assert all(torch.equal(back[name], tensors[name]) for name in tensors)


def widened(merged):
    """A ResNet of the merged tensors' shapes."""
    model = ResNet().eval()
    for name, tensor in merged.items():
        owner, _, leaf = name.rpartition(".")
        module = model.get_submodule(owner)
        if leaf.startswith("running"):
            setattr(module, leaf, tensor)
        else:
            setattr(module, leaf, torch.nn.Parameter(tensor))
        if isinstance(module, torch.nn.Conv2d):
            module.in_channels, module.out_channels = tensor.shape[1], tensor.shape[0]
    return model


@pytest.mark.parametrize("outputs_apart", [False, True])
def test_all_channels_apart_hold_both_functions_exactly(outputs_apart):
    one, two = network(1), network(2)
    first, second = tensors_of(one), tensors_of(two)
    groups = list(groups_of(first))
    if outputs_apart:
        axes = (Axis("fc.weight", 0, "out"), Axis("fc.bias", 0, "out"))
        groups.append(Group("outputs", "output", 4, axes, fixed=True))
    scores = unit_scores(groups, reader(first), reader(second), {})
    roles = by_share(scores, {group.name: 1.0 for group in groups})
    widening = Widening(groups, roles)
    merged = {name: widening.merge(name, first[name], second[name]) for name in first}
    both = [answers(one), answers(two)]
    expected = torch.cat(both, dim=1) if outputs_apart else (both[0] + both[1]) / 2
    assert torch.allclose(answers(widened(merged)), expected, atol=1e-4)


def test_some_channels_apart_of_a_copy_answer_as_the_network():
    model = network(3)
    tensors = tensors_of(model)
    groups = groups_of(tensors)
    rng = np.random.default_rng(4)
    scores = {g.name: rng.random(g.size) for g in groups}
    widening = Widening(groups, by_share(scores, {g.name: 0.5 for g in groups}))
    merged = {name: widening.merge(name, x, x) for name, x in tensors.items()}
    assert torch.allclose(answers(widened(merged)), answers(model), atol=1e-4)


def test_least_squares_of_a_convolution_agree_with_an_independent_solution():
    """Inputs and outputs partly apart, stride and padding; patches are cut out one by one here."""
    generator = torch.Generator().manual_seed(2)
    weights = [torch.randn(3, 4, 3, 3, generator=generator) for _ in range(2)]
    inputs = [torch.randn(12, 4, 7, 7, generator=generator) for _ in range(2)]
    groups = [
        Group("in", "channels", 4, (Axis("w", 1, "in"),)),
        Group("out", "channels", 3, (Axis("w", 0, "out"),)),
    ]
    roles = {"in": roles_of(np.array([3.0, 2.0, 1.0, 4.0]), 1), "out": roles_of(np.arange(3.0), 1)}
    widening = Widening(groups, roles)
    start = widening.merge("w", *weights)
    sides = widening.sides("w", (3, 4, 3, 3))
    found = fit_convolution(
        start, tuple(weights), tuple(inputs), sides, stride=2, padding=1, ridge=1e-12
    )
    shares = {0: (0.5, 0.5), 1: (1.0, 0.0), 2: (0.0, 1.0)}

    def mixed(pair, own):
        return torch.stack(
            [
                shares[role][0] * pair[0][:, unit] + shares[role][1] * pair[1][:, unit]
                for unit, role in zip(own.units.tolist(), own.roles.tolist(), strict=True)
            ],
            dim=1,
        )

    padded = torch.nn.functional.pad(mixed(inputs, roles["in"]), (1, 1, 1, 1)).double().numpy()
    answers_of = [
        torch.conv2d(x, w, stride=2, padding=1) for x, w in zip(inputs, weights, strict=True)
    ]
    wanted = mixed(answers_of, roles["out"]).double().numpy()
    cells = [(t, i, j) for t in range(12) for i in range(4) for j in range(4)]
    x = np.stack([padded[t, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3] for t, i, j in cells])
    for row, role in enumerate(roles["out"].roles):
        reads = np.isin(roles["in"].roles, {0: [0, 1, 2], 1: [0, 1], 2: [0, 2]}[int(role)])
        y = np.array([wanted[t, row, i, j] for t, i, j in cells])
        best, *_ = np.linalg.lstsq(x[:, reads].reshape(len(cells), -1), y, rcond=None)
        assert np.allclose(found[row, reads].reshape(-1).numpy(), best, atol=1e-4)
        assert not found[row, ~reads].any()


def test_other_names_are_refused():
    with pytest.raises(CheckpointError, match="torchvision"):
        resnet_groups({"stem.weight": (3, 3)})
