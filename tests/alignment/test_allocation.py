"""Which groups stay apart under a budget: the programme's answers against grids, costs against merges."""

from itertools import product

import numpy as np
import pytest

from evomerge.alignment.allocation import (
    Term,
    allocate,
    cost_terms,
    published_weights,
    relative_cost,
    whole_widths,
)
from evomerge.alignment.groups import Axis, Group
from evomerge.alignment.resnets import resnet_groups
from evomerge.alignment.widths import Roles, cost, roles_of
from tests.alignment.resnet import ResNet
from tests.alignment.test_widths import GROUPS, network

GRID = np.linspace(0.0, 1.0, 41)


def drawn(seed, count):
    """Terms of a random network of `count` groups, some coupled, and random weights."""
    rng = np.random.default_rng(seed)
    names = [f"g{n}" for n in range(count)]
    terms = [Term(float(rng.uniform(1, 9)), (name,)) for name in names] + [Term(3.0, ())]
    for i, j in product(range(count), repeat=2):
        if i <= j and rng.random() < 0.6:
            terms.append(Term(float(rng.uniform(1, 30)), (names[i], names[j])))
    return terms, {name: float(rng.uniform(0.1, 1.0)) for name in names}


def best_of_grid(terms, weights, budget):
    """The largest value among ratios of a grid that fit."""
    names = sorted(weights)
    points = np.array(list(product(GRID, repeat=len(names))))
    total = sum(term.entries for term in terms)
    spent = np.zeros(len(points))
    for entries, own in terms:
        kept = np.prod([1.0 - points[:, names.index(name)] for name in own], axis=0)
        spent += entries * (2.0 - kept)
    fitting = spent / total <= budget
    return float((points @ np.array([weights[name] for name in names]))[fitting].max())


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("budget", [1.05, 1.3, 1.6, 1.9])
def test_no_point_of_a_grid_is_better_than_the_allocation(seed, budget):
    terms, weights = drawn(seed, 3)
    found = allocate(terms, weights, budget)
    assert relative_cost(terms, found.ratios) <= budget + 1e-6
    assert found.value >= best_of_grid(terms, weights, budget) - 1e-6
    assert found.value == pytest.approx(sum(weights[n] * r for n, r in found.ratios.items()))
    assert found.bound <= found.value * (1 + 2e-4)


def test_where_no_tensor_has_two_groups_it_is_the_fractional_knapsack():
    rng = np.random.default_rng(3)
    terms = [Term(float(rng.uniform(1, 9)), (f"g{n}",)) for n in range(12)]
    weights = {f"g{n}": float(rng.uniform(0.1, 1)) for n in range(12)}
    found = allocate(terms, weights, 1.4)
    left, expected = 0.4 * sum(term.entries for term in terms), {}
    for entries, (name,) in sorted(terms, key=lambda term: -weights[term.names[0]] / term.entries):
        expected[name] = min(1.0, left / entries)
        left -= expected[name] * entries
    assert found.ratios == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("budget", "ratio"), [(1.0, 0.0), (2.0, 1.0)])
def test_the_ends_of_the_budget_are_nothing_and_everything_apart(budget, ratio):
    terms, weights = drawn(1, 3)
    found = allocate(terms, weights, budget)
    assert all(value == pytest.approx(ratio, abs=1e-6) for value in found.ratios.values())


def test_a_budget_below_one_network_is_refused():
    with pytest.raises(ValueError, match="less than one network"):
        allocate([Term(1.0, ("g",))], {"g": 1.0}, 0.9)


def test_the_same_programme_has_the_same_answer_bit_for_bit():
    terms, weights = drawn(5, 4)
    assert allocate(terms, weights, 1.4) == allocate(terms[::-1], weights, 1.4)


def roles_at(groups, apart):
    return {g.name: roles_of(np.arange(g.size, dtype=float), apart[g.name]) for g in groups}


@pytest.mark.parametrize("seed", range(3))
def test_the_cost_of_terms_is_that_of_the_merged_tensors(seed):
    shapes = {name: tuple(x.shape) for name, x in network(1).items()}
    resnet = {name: tuple(x.shape) for name, x in ResNet().state_dict().items() if x.dim()}
    rng = np.random.default_rng(seed)
    for groups, own in ((GROUPS, shapes), (resnet_groups(resnet), resnet)):
        terms = cost_terms(groups, own, {group.name: group.name for group in groups})
        apart = {group.name: int(rng.integers(0, group.size + 1)) for group in groups}
        ratios = {group.name: apart[group.name] / group.size for group in groups}
        assert relative_cost(terms, ratios) == pytest.approx(
            cost(groups, own, roles_at(groups, apart))
        )


def test_groups_that_share_a_ratio_are_one_variable():
    shapes = {name: tuple(x.shape) for name, x in network(1).items()}
    terms = cost_terms(GROUPS, shapes, {group.name: "both" for group in GROUPS})
    assert {term.names for term in terms} == {(), ("both",), ("both", "both")}
    found = allocate(terms, {"both": 1.0}, 1.5)
    assert relative_cost(terms, found.ratios) == pytest.approx(1.5, abs=1e-6)


def test_whole_widths_fit_and_none_can_be_raised():
    terms, weights = drawn(2, 3)
    levels = {name: [n / 7 for n in range(8)] for name in weights}
    ratios = allocate(terms, weights, 1.45).ratios
    found = whole_widths(ratios, levels, terms, weights, 1.45)
    assert relative_cost(terms, found) <= 1.45 + 1e-9
    for name, ratio in found.items():
        assert min(abs(ratio - level) for level in levels[name]) < 1e-12
        if ratio < 1:
            assert relative_cost(terms, {**found, name: ratio + 1 / 7}) > 1.45


def test_weights_of_the_paper_are_gains_alone_and_losses_alone():
    """By hand, of a score in which two groups work together."""

    def score(ratios):
        return ratios["a"] + 3 * ratios["b"] - 2 * ratios["a"] * ratios["b"]

    found = published_weights(score, ["a", "b"], 1.25)
    assert found["a"] == pytest.approx(1 * 0.75 + (2 - 3) * 0.25)
    assert found["b"] == pytest.approx(3 * 0.75 + (2 - 1) * 0.25)


def test_a_group_along_both_dimensions_of_a_tensor_costs_what_its_merge_does():
    group = Group("g", "mlp", 4, (Axis("w", 0, "out"), Axis("w", 1, "in")))
    terms = cost_terms([group], {"w": (4, 4)}, {"g": "g"})
    roles: Roles = roles_of(np.arange(4.0), 2)
    assert relative_cost(terms, {"g": 0.5}) == pytest.approx(
        cost([group], {"w": (4, 4)}, {"g": roles})
    )
    best = allocate(terms, {"g": 1.0}, 1.5).ratios["g"]
    assert 2 - (1 - best) ** 2 == pytest.approx(1.5, abs=1e-6)
