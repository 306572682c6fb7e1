"""Partial merges of small networks: what PLeaS gives at its two ends, and in between."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from evomerge.alignment.groups import Axis, Group
from evomerge.alignment.permute import Permuter
from evomerge.alignment.squares import blend, solve
from evomerge.alignment.weights import match_weights, reader, unit_scores
from evomerge.alignment.widths import FIRST, MERGED, SECOND, Widening, by_share, cost, within_budget

SIZES = (5, 7, 6, 3)


def network(seed):
    """Weights of a perceptron with two hidden layers and biases."""
    generator = torch.Generator().manual_seed(seed)
    tensors = {}
    for number, (narrow, wide) in enumerate(pairwise(SIZES)):
        tensors[f"{number}.weight"] = torch.randn(wide, narrow, generator=generator)
        tensors[f"{number}.bias"] = torch.randn(wide, generator=generator)
    return tensors


def hidden(number):
    return Group(
        f"hidden{number}",
        "mlp",
        SIZES[number + 1],
        (
            Axis(f"{number}.weight", 0, "out"),
            Axis(f"{number}.bias", 0, "out"),
            Axis(f"{number + 1}.weight", 1, "in"),
        ),
    )


OUTPUTS = Group(
    "outputs", "output", 3, (Axis("2.weight", 0, "out"), Axis("2.bias", 0, "out")), fixed=True
)
GROUPS = (hidden(0), hidden(1))


def run(tensors, x):
    for number in range(3):
        x = x @ tensors[f"{number}.weight"].T + tensors[f"{number}.bias"]
        x = x.relu() if number < 2 else x
    return x


def inputs(count=40):
    return torch.randn(count, SIZES[0], generator=torch.Generator().manual_seed(9))


def partial(one, two, ratios, groups=GROUPS):
    scores = unit_scores(groups, reader(one), reader(two), {})
    widening = Widening(groups, by_share(scores, ratios))
    return {name: widening.merge(name, one[name], two[name]) for name in one}


def test_nothing_apart_and_no_reordering_is_the_average():
    one, two = network(1), network(2)
    merged = partial(one, two, {"hidden0": 0.0, "hidden1": 0.0})
    for name in one:
        assert torch.equal(merged[name], one[name] * 0.5 + two[name] * 0.5)


def test_all_units_apart_and_outputs_apart_are_both_networks():
    one, two, x = network(1), network(2), inputs()
    merged = partial(one, two, {"hidden0": 1.0, "hidden1": 1.0, "outputs": 1.0}, (*GROUPS, OUTPUTS))
    assert merged["2.weight"].shape == (6, 12)
    expected = torch.cat([run(one, x), run(two, x)], dim=1)
    assert torch.allclose(run(merged, x), expected, atol=1e-5)


def test_all_units_apart_and_shared_outputs_are_the_mean_of_both_answers():
    one, two, x = network(1), network(2), inputs()
    merged = partial(one, two, {"hidden0": 1.0, "hidden1": 1.0})
    assert torch.allclose(run(merged, x), (run(one, x) + run(two, x)) / 2, atol=1e-5)


@pytest.mark.parametrize("ratio", [0.0, 0.3, 0.5, 1.0])
def test_a_network_and_its_shuffled_copy_merge_to_the_same_function(ratio):
    one, x = network(1), inputs()
    orders = {g.name: np.random.default_rng(3).permutation(g.size) for g in GROUPS}
    permuter = Permuter(GROUPS)
    two = {name: permuter.apply(name, tensor, orders) for name, tensor in one.items()}
    found = match_weights(GROUPS, reader(one), reader(two))
    two = {name: permuter.apply(name, tensor, found) for name, tensor in two.items()}
    merged = partial(one, two, {"hidden0": ratio, "hidden1": ratio})
    assert torch.allclose(run(merged, x), run(one, x), atol=1e-5)


def test_blocks_are_those_of_the_paper():
    one, two = network(1), network(2)
    merged = partial(one, two, {"hidden0": 3 / 7, "hidden1": 0.5})["1.weight"]
    scores = unit_scores(GROUPS, reader(one), reader(two), {})
    rows = np.argsort(-scores["hidden1"])
    columns = np.argsort(-scores["hidden0"])
    m_o, a_o = np.sort(rows[:3]), np.sort(rows[3:])
    m_i, a_i = np.sort(columns[:4]), np.sort(columns[4:])
    w1, w2 = (net["1.weight"].double().numpy() for net in (one, two))
    zero = np.zeros((3, 3))
    expected = np.block(
        [
            [
                (w1 + w2)[np.ix_(m_o, m_i)] / 2,
                w1[np.ix_(m_o, a_i)] / 2,
                w2[np.ix_(m_o, a_i)] / 2,
            ],
            [w1[np.ix_(a_o, m_i)], w1[np.ix_(a_o, a_i)], zero],
            [w2[np.ix_(a_o, m_i)], zero, w2[np.ix_(a_o, a_i)]],
        ]
    )
    assert np.allclose(merged.numpy(), expected, atol=1e-6)


def test_the_cost_of_a_weight_is_the_published_one_and_a_budget_is_kept():
    one, two = network(1), network(2)
    scores = unit_scores(GROUPS, reader(one), reader(two), {})
    shapes = {"1.weight": (6, 7)}
    got = cost(GROUPS, shapes, by_share(scores, {"hidden0": 3 / 7, "hidden1": 0.5}))
    assert got == pytest.approx(1.5 * (1 + 3 / 7) - 2 * 0.5 * 3 / 7)
    shapes = {name: tuple(tensor.shape) for name, tensor in one.items()}

    def choose(share):
        return by_share(scores, {"hidden0": share, "hidden1": share})

    for budget in (1.0, 1.2, 1.5, 2.0):
        assert cost(GROUPS, shapes, within_budget(budget, choose, GROUPS, shapes)) <= budget + 1e-6
    best = within_budget(1.5, choose, GROUPS, shapes)
    assert cost(GROUPS, shapes, best) > 1.3


def test_least_squares_agree_with_an_independent_solution_and_keep_forbidden_blocks_zero():
    generator = torch.Generator().manual_seed(4)
    x1, x2 = (torch.randn(50, 7, generator=generator) for _ in range(2))
    w1, w2 = network(1)["1.weight"], network(2)["1.weight"]
    b1, b2 = network(1)["1.bias"], network(2)["1.bias"]
    index_i, roles_i = np.array([0, 1, 2, 3, 4, 5, 6, 5, 6]), np.array([0] * 5 + [1, 1, 2, 2])
    index_o, roles_o = np.array([0, 1, 2, 3, 4, 5, 4, 5]), np.array([0] * 4 + [1, 1, 2, 2])
    x = blend(x1, x2, index_i, roles_i)
    y = blend(x1 @ w1.T + b1, x2 @ w2.T + b2, index_o, roles_o)
    start = torch.zeros(8, 9)
    weight, bias = solve(start, torch.zeros(8), x, y, (roles_o, roles_i), 1e-10)
    allowed = {MERGED: [0, 1, 2], FIRST: [0, 1], SECOND: [0, 2]}
    for row in range(8):
        columns = np.flatnonzero(np.isin(roles_i, allowed[int(roles_o[row])]))
        design = np.hstack([x.numpy()[:, columns], np.ones((50, 1))])
        expected, *_ = np.linalg.lstsq(design, y.numpy()[:, row], rcond=None)
        assert np.allclose(weight[row, columns].numpy(), expected[:-1], atol=1e-5)
        assert float(bias[row]) == pytest.approx(expected[-1], abs=1e-5)
        others = np.setdiff1d(np.arange(9), columns)
        assert not weight[row, others].any()


def test_much_ridge_leaves_the_partial_merge():
    x = torch.randn(20, 4, generator=torch.Generator().manual_seed(1))
    start = torch.randn(3, 4, generator=torch.Generator().manual_seed(2))
    roles = (np.zeros(3, np.int64), np.zeros(4, np.int64))
    weight, _ = solve(start, None, x, x @ torch.ones(4, 3), roles, 1e9)
    assert torch.allclose(weight, start, atol=1e-6)
