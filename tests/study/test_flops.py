"""Costs against operations counted by hand: 100 parameters, one linear layer of 4 inputs and 3 outputs."""

import pytest

from evomerge.layout import read_index
from evomerge.recipe import Recipe, Source, constant
from evomerge.study.flops import Shapes, flops_of, merge_flops, shapes_of, statistics_flops
from evomerge.study.records import Choice, Spent
from evomerge.study.statistics import MeasuredStatistic
from tests.support import LAYERS, WIDTH, write_checkpoint

SHAPES = Shapes(100, ((4, 3),))


def recipe(method, **parameters):
    source = [Source(model=m, parameters={"weight": constant(1.0)}) for m in "xy"]
    values = {name: constant(value) for name, value in parameters.items()}
    return Recipe(merge_method=method, base_model="b", models=tuple(source), parameters=values)


def measured(statistic):
    return MeasuredStatistic(statistic, "x", examples=5, tokens=10, seconds=1.0, size=1)


@pytest.mark.parametrize(
    ("merge", "count"),
    [
        (recipe("task_arithmetic"), 2 * 2 * 100 + 100),
        (recipe("dare_linear"), 2 * 2 * 100 + 100 + 3 * 2 * 100),
        (recipe("fisher"), 4 * 2 * 100),
        (recipe("regmean"), 2 * 2 * 16 * 3 + 2 * 64 + 2 * 16 * 3),
        (recipe("mats", iterations=7.0), 7 * 2 * 2 * 16 * 3),
        (recipe("mats", iterations=7.0, objective="kfac"), 7 * 2 * 2 * (16 * 3 + 4 * 9)),
        (recipe("pleas"), None),
    ],
)
def test_a_merge_costs_what_its_formula_says(merge, count):
    assert merge_flops(merge, SHAPES) == count


def test_an_election_costs_more_than_a_plain_sum():
    assert merge_flops(recipe("dare_ties"), SHAPES) > merge_flops(recipe("dare_linear"), SHAPES)


@pytest.mark.parametrize(
    ("statistic", "count"),
    [
        ("input_grams", 2 * 100 * 10 + 2 * 10 * 16),
        ("output_gradient_grams", 6 * 100 * 10 + 2 * 10 * 9),
        ("fisher", 6 * 100 * 10 + 2 * 100 * 5),
        ("logits", 2 * 100 * 10),
    ],
)
def test_a_statistic_costs_its_passes_and_its_products(statistic, count):
    assert statistics_flops([measured(statistic)], SHAPES) == count


def test_a_search_costs_its_candidates_and_the_tokens_they_read():
    found = flops_of(Choice(recipe("task_arithmetic"), Spent(tokens=50, candidates=3)), SHAPES)
    assert found.choice == 2 * 100 * 50 + 3 * 500
    assert found.total == found.choice + 500


def test_shapes_come_from_the_headers_of_a_checkpoint(tmp_path):
    shapes = shapes_of(read_index(write_checkpoint(tmp_path / "m", 0)))
    assert shapes.linears == ((WIDTH, WIDTH),) * (7 * LAYERS)
