"""Roles of tasks, nested orders, and the cells of a study."""

from itertools import combinations

import pytest

from evomerge.study.plan import make_plan, nested_orders, subsets_of, waves
from evomerge.study.roles import Role, held_in, role_of
from evomerge.study.spec import StudySpec
from tests.study.studies import SEARCHED, TUNED, content


def study(**changes):
    return StudySpec.model_validate(content(**changes))


def test_roles_follow_from_the_skills_and_factors_of_the_experts():
    spec = study()
    roles = {task.task: role_of(task, spec.bases[0].experts) for task in spec.tasks}
    assert roles == {
        "sort_de": Role.HELD_IN,
        "reverse_fr": Role.HELD_IN,
        "rotate_en": Role.HELD_IN,
        "sort_fr": Role.COMBINATION,
        "copy_de": Role.HELD_OUT,
    }


def test_without_a_second_factor_there_are_no_combinations():
    experts = [{"model": m, "skill": m} for m in "xy"]
    spec = study(
        bases=[{"model": "b", "experts": experts}],
        tasks=[{"task": name, "skill": name} for name in "xyq"],
    )
    roles = [role_of(task, spec.bases[0].experts) for task in spec.tasks]
    assert roles == [Role.HELD_IN, Role.HELD_IN, Role.HELD_OUT]


def test_held_in_tasks_are_those_of_the_merged_experts_alone():
    spec = study()
    assert [t.task for t in held_in(spec.tasks, spec.bases[0].experts[:1])] == ["sort_de"]


def test_each_subset_of_an_order_lies_within_the_next():
    for order in nested_orders(8, [2, 4, 8], 10, seed=0):
        assert set(order[:2]) < set(order[:4]) < set(order) == set(range(8))


def test_beginnings_of_the_orders_differ_while_there_are_any():
    orders = nested_orders(5, [2, 3, 4], 5, seed=0)
    for size in (2, 3, 4):
        assert len({frozenset(order[:size]) for order in orders}) == 5


def test_more_orders_than_subsets_repeat_some():
    orders = nested_orders(3, [2], 6, seed=1)
    assert {frozenset(order[:2]) for order in orders} == set(
        map(frozenset, combinations(range(3), 2))
    )


def test_the_same_seed_gives_the_same_orders_and_another_one_others():
    assert nested_orders(8, [4], 3, seed=5) == nested_orders(8, [4], 3, seed=5)
    assert nested_orders(8, [4], 3, seed=5) != nested_orders(8, [4], 3, seed=6)


def test_a_subset_of_several_orders_is_merged_once():
    spec = study(subsets={"sizes": [2, 3], "orders": 2})
    found = subsets_of(spec, 3)
    assert [len(places) for places in found] == [2, 2, 3]
    assert found[0, 1, 2] == (0, 1)


def test_all_experts_are_merged_where_no_sizes_are_given():
    assert list(subsets_of(study(), 3)) == [(0, 1, 2)]


def test_only_methods_that_draw_numbers_are_repeated_with_other_seeds():
    plan = make_plan(study(methods=["linear", "dare_ties", TUNED, SEARCHED], seeds=[0, 1, 2]))
    seeds = {
        entry: [c.seed for c in plan.cells if c.entry.method == entry]
        for entry in ("linear", "dare_ties")
    }
    assert seeds == {"linear": [0], "dare_ties": [0, 1, 2]}
    assert [c.entry.label for c in plan.cells].count("tuned") == 1  # a grid
    assert [c.entry.label for c in plan.cells].count("searched") == 3


def test_a_method_for_two_models_is_left_out_where_there_are_three():
    plan = make_plan(study(methods=["linear", "nuslerp"], subsets={"sizes": [2, 3]}))
    assert {(c.entry.method, c.size) for c in plan.cells} == {
        ("linear", 2),
        ("linear", 3),
        ("nuslerp", 2),
    }
    (left,) = plan.skipped
    assert left.why == "nuslerp merges exactly 2, not 3"


@pytest.mark.parametrize("orders", [1, 3])
def test_sizes_of_models_are_compared_on_the_same_subsets(orders):
    one = content()["bases"][0]
    spec = study(
        bases=[{**one, "name": "small"}, {**one, "name": "large"}],
        subsets={"sizes": [2], "orders": orders},
    )
    cells = make_plan(spec).cells
    places = {
        name: [c.places for c in cells if c.base.label == name] for name in ("small", "large")
    }
    assert places["small"] == places["large"]


def test_a_cell_that_begins_at_another_ones_result_waits_for_it_and_no_other_does():
    after = {**SEARCHED, "name": "after", "after": "tuned"}
    last = {"name": "last", "method": "dam", "after": "after"}
    methods = ["linear", TUNED, after, last, "ties"]
    cells = make_plan(study(methods=methods, subsets={"sizes": [2, 3]})).cells
    found = [[cell.entry.label for cell in wave] for wave in waves(cells)]
    assert found == [["linear", "tuned", "ties"] * 2, ["after"] * 2, ["last"] * 2]
