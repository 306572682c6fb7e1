"""Named groups of tensors, single tensors, and splines over the layers."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evomerge.errors import Problems, SpecError
from evomerge.layout import CheckpointIndex, TensorInfo, kind_of, layer_of
from evomerge.recipe import evaluate, position_in_slice
from evomerge.space import Range, SearchSpace, SpaceSpec
from evomerge.space.across import natural_spline, spread
from evomerge.space.areas import roles
from tests.space.families import FAMILIES, index_of

FILTERS = {"attn": r"re:self_attn\.(q|k)_proj", "mlp": "mlp", "rest": "*"}


def space(per: tuple[str, ...], family: str = "untied", layers: int = 6, **fields) -> SearchSpace:
    filters = fields.pop("filters", FILTERS if "filter" in per else {})
    weight = Range(range=(0, 1.5), per=per, step=0.001, filters=filters)
    spec = SpaceSpec(method="ties", parameters={"weight": weight}, **fields)
    return SearchSpace(spec, "org/base", ("org/a", "org/b"), index_of(family, layers))


def value(found: SearchSpace, genome: np.ndarray, tensor: str) -> float:
    setting = (found.decode(genome).models or ())[0].parameters["weight"]
    layer = layer_of(tensor)
    place = 0.0 if layer is None else position_in_slice(layer, found.index.num_layers)
    return float(evaluate(setting, tensor, place))


def test_each_named_filter_is_a_gene_and_a_rule_in_the_order_written() -> None:
    found = space(("model", "filter"))
    assert [gene.filter for gene in found.genes] == ["attn", "mlp", "rest"] * 2
    genome = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    rules = (found.decode(genome).models or ())[0].parameters["weight"]
    assert [(rule.filter or "*", rule.value) for rule in rules] == [
        (FILTERS["attn"], 0.15),
        ("mlp", 0.3),
        ("*", 0.45),
    ]
    assert value(found, genome, "model.layers.2.self_attn.q_proj.weight") == 0.15
    assert value(found, genome, "model.layers.2.self_attn.o_proj.weight") == 0.45
    assert value(found, genome, "lm_head.weight") == 0.45


def test_filters_and_layer_groups_together_give_each_filter_a_list() -> None:
    found = space(("filter", "layer_group"), layer_groups=3)
    assert len(found.genes) == 9
    genome = np.linspace(0, 1, 9)
    mlp = [value(found, genome, f"model.layers.{n}.mlp.gate_proj.weight") for n in range(6)]
    assert mlp == [pytest.approx(1.5 * g, abs=1e-3) for g in (3 / 8, 3 / 8, 0.5, 0.5, 5 / 8, 5 / 8)]
    assert value(found, genome, "lm_head.weight") == 1.5, "the head follows the last group"
    assert value(found, genome, "model.embed_tokens.weight") == pytest.approx(1.125, abs=1e-3)


def test_a_filter_that_matches_no_layer_is_one_gene_even_with_layer_groups() -> None:
    found = space(
        ("filter", "layer_group"), layer_groups=3, filters={"words": "embed", "rest": "*"}
    )
    assert [(gene.filter, gene.group) for gene in found.genes] == [
        ("words", None),
        *(("rest", group) for group in range(3)),
    ]


@pytest.mark.parametrize(
    ("filters", "says"),
    [
        ({"attn": "attn.c", "rest": "*"}, "attn ('attn.c') matches no tensor"),
        ({"attn": "attn", "mlp": "mlp"}, "no filter matches"),
        ({"rest": "*", "mlp": "mlp"}, "belongs to a filter above it"),
    ],
)
def test_filters_that_leave_a_gene_or_a_tensor_without_the_other_are_refused(
    filters: dict[str, str], says: str
) -> None:
    with pytest.raises((SpecError, Problems)) as caught:
        space(("filter",), filters=filters)
    assert says in str(caught.value)
    assert "space.weight.filters" in str(caught.value)
    assert "→" in str(caught.value)


@given(st.sampled_from(sorted(FAMILIES)), st.integers(1, 5), st.integers(1, 3))
@settings(deadline=None)
def test_with_per_tensor_each_tensor_follows_a_gene_of_its_own(
    family: str, layers: int, groups: int
) -> None:
    found = space(("tensor", "layer_group"), family, layers, layer_groups=groups)
    genome = np.random.default_rng(0).random(found.dimension)
    for tensor in found.index.tensors:
        layer = layer_of(tensor)
        role = next(r for r in roles(found.index) if r in tensor)
        group = None if layer is None else layer * found.groups // layers
        places = [
            place
            for place, gene in enumerate(found.genes)
            if gene.filter == role and gene.group in {None, group}
        ]
        if layer is None and len(places) != 1:
            continue  # named like a tensor in layers: follows those
        weight = found.spec.parameters["weight"]
        assert isinstance(weight, Range)
        assert value(found, genome, tensor) == weight.decode(float(genome[places[0]])), tensor


def test_a_spline_goes_through_its_anchors_and_bends_nowhere_at_its_ends() -> None:
    values = (0.2, 1.0, 0.4, 0.6)
    at_anchors = natural_spline(values, [0, 1 / 3, 2 / 3, 1])
    assert at_anchors == pytest.approx(values)
    near = natural_spline(values, [0, 1e-3, 2e-3])
    assert near[0] - 2 * near[1] + near[2] == pytest.approx(0, abs=1e-5)


def test_a_spline_is_the_one_that_numpy_solves_for() -> None:
    values = np.array([0.1, 0.9, 0.3, 0.7, 0.2])
    matrix = np.eye(5)
    right = np.zeros(5)
    for knot in (1, 2, 3):
        matrix[knot, knot - 1 : knot + 2] = (1, 4, 1)
        right[knot] = 6 * (values[knot - 1] - 2 * values[knot] + values[knot + 1])
    bends = np.linalg.solve(matrix, right)
    middle = natural_spline(values.tolist(), [0.375])[0]
    expected = (values[1] + values[2]) / 2 - (bends[1] + bends[2]) / 16
    assert middle == pytest.approx(expected)


@given(st.lists(st.floats(0, 1.5), min_size=2, max_size=6), st.integers(6, 20))
def test_a_spline_names_every_layer_inside_the_range(values: list[float], layers: int) -> None:
    searched = Range(range=(0, 1.5), step=0.001)
    found = spread(tuple(values), "spline", layers, searched)
    assert isinstance(found, tuple)
    assert len(found) == layers
    assert all(0 <= value <= 1.5 for value in found)


def test_two_anchors_give_the_straight_line_either_way() -> None:
    searched = Range(range=(0, 1.5))
    curve = spread((0.0, 1.0), "spline", 5, searched)
    assert curve == (0.0, 0.25, 0.5, 0.75, 1.0)
    assert spread((0.0, 1.0), "linear", 5, searched) == (0.0, 1.0)


def test_a_space_with_splines_decodes_to_one_value_a_layer() -> None:
    found = space(("model", "layer_group"), layer_groups=4, across_layers="spline")
    genome = np.random.default_rng(3).random(found.dimension)
    tensors = [f"model.layers.{n}.mlp.gate_proj.weight" for n in range(6)]
    curve = [value(found, genome, tensor) for tensor in tensors]
    anchors = [1.5 * gene for gene in genome[:4]]
    assert curve[0] == pytest.approx(anchors[0], abs=1e-3)
    assert curve[-1] == pytest.approx(anchors[-1], abs=1e-3)


def test_kinds_of_tensors_outside_a_checkpoint_need_no_filter() -> None:
    names = ("model.layers.0.a.weight", "model.layers.0.b.weight")
    tensors = {name: TensorInfo(name, "F32", (2, 2), Path("x"), 0, 16) for name in names}
    index = CheckpointIndex(Path("x"), {}, tensors)
    weight = Range(range=(0, 1), per=("kind",))
    spec = SpaceSpec(method="ties", parameters={"weight": weight})
    found = SearchSpace(spec, "base", ("a",), index)
    assert [gene.kind for gene in found.genes] == [kind_of(names[0])]
