"""From genome to recipe and back: deterministic, inside the ranges, and true to each tensor's name."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from evomerge.layout import kind_of, layer_of
from evomerge.recipe import evaluate, position_in_slice
from evomerge.space import Choice, Genome, Range, SearchSpace, SpaceSpec
from tests.space.families import FAMILIES, index_of

GRAINS = ((), ("model",), ("layer_group",), ("kind",), ("model", "layer_group", "kind"))
MODELS = ("org/a", "org/b")


@st.composite
def spaces(draw: st.DrawFn) -> SearchSpace:
    spec = SpaceSpec(
        method="ties",
        layer_groups=draw(st.integers(1, 6)),
        across_layers=draw(st.sampled_from(["step", "linear"])),
        parameters={
            "weight": Range(range=(0, 1.5), per=draw(st.sampled_from(GRAINS)), step=0.001),
            "density": Range(range=(0.05, 1), scale="log", per=draw(st.sampled_from(GRAINS))),
        },
    )
    index = index_of(draw(st.sampled_from(sorted(FAMILIES))), draw(st.integers(1, 7)))
    return SearchSpace(spec, "org/base", MODELS, index)


@st.composite
def spaces_with_genomes(draw: st.DrawFn) -> tuple[SearchSpace, Genome]:
    space = draw(spaces())
    genes = st.floats(0, 1)
    return space, np.array(draw(st.lists(genes, min_size=(n := space.dimension), max_size=n)))


def position(name: str, layers: int) -> float:
    layer = layer_of(name)
    return 0.0 if layer is None else position_in_slice(layer, layers)


@given(spaces_with_genomes())
def test_a_genome_always_decodes_to_the_same_recipe(case: tuple[SearchSpace, Genome]) -> None:
    space, genome = case
    again = SearchSpace(space.spec, space.base_model, space.models, space.index)
    assert space.decode(genome).recipe_id == again.decode(genome.copy()).recipe_id


@given(spaces_with_genomes())
def test_every_gene_matters_and_has_a_label_of_its_own(case: tuple[SearchSpace, Genome]) -> None:
    space, _ = case
    labels = [gene.label for gene in space.genes]
    assert len(set(labels)) == len(labels) == space.dimension


@given(spaces_with_genomes())
def test_each_tensor_gets_the_value_of_its_own_kind_and_layer_group(
    case: tuple[SearchSpace, Genome],
) -> None:
    space, genome = case
    layers = space.index.num_layers
    source = space.decode(genome).models[0]
    for parameter, setting in source.parameters.items():
        searched = space.spec.parameters[parameter]
        for name in space.index.tensors:
            value = evaluate(setting, name, position(name, layers))
            gene = gene_for(space, parameter, name)
            if gene is not None:
                expected = searched.decode(float(genome[gene]))
                assert value == pytest.approx(expected, abs=1e-9), name


def gene_for(space: SearchSpace, parameter: str, name: str) -> int | None:
    """The gene that a tensor should follow; None between two anchors of a linear gradient."""
    per = space.spec.parameters[parameter].per
    kind, layer, layers = kind_of(name), layer_of(name), space.index.num_layers
    inside = any(name in inner for inner in space.index.tensors if layer_of(inner) is not None)
    if layer is None and inside and not set(per) <= {"model"}:
        return None  # its name is part of layers' names: no filter can single it out
    group = None
    if "layer_group" in per and (layer is not None or kind not in ("embedding", "head")):
        place = (layers - 1 if layer is None else layer) * space.groups
        group = place // layers
        if space.spec.across_layers == "linear" and layer is not None:
            exact = layer * (space.groups - 1) / max(layers - 1, 1)
            if exact != int(exact):
                return None
            group = int(exact) if layers > 1 else space.groups - 1
    if layer is None and kind in ("embedding", "head") and not set(per) <= {"model"}:
        wanted_kind: str | None = kind
    else:
        wanted_kind = kind if "kind" in per else None
        if "kind" in per and kind not in space.index.kinds:
            return None
    owner = MODELS[0] if "model" in per else None
    places = [
        place
        for place, gene in enumerate(space.genes)
        if (gene.parameter, gene.model, gene.kind, gene.group)
        == (parameter, owner, wanted_kind, group)
    ]
    assert len(places) == 1, (name, wanted_kind, group)
    return places[0]


@given(spaces_with_genomes())
def test_stepped_layer_groups_are_written_as_one_value_a_layer(
    case: tuple[SearchSpace, Genome],
) -> None:
    space, genome = case
    if space.spec.across_layers != "step" or space.groups == 1:
        return
    for source in space.decode(genome).models:
        for name, setting in source.parameters.items():
            per = space.spec.parameters[name].per
            lengths = {len(rule.value) for rule in setting if isinstance(rule.value, tuple)}
            assert lengths == ({space.index.num_layers} if "layer_group" in per else set())


@given(spaces_with_genomes())
def test_values_lie_inside_their_ranges(case: tuple[SearchSpace, Genome]) -> None:
    space, genome = case
    for source in space.decode(genome).models:
        for name, setting in source.parameters.items():
            low, high = space.spec.parameters[name].range
            for rule in setting:
                values = rule.value if isinstance(rule.value, tuple) else (rule.value,)
                assert all(low <= value <= high for value in values)


@given(
    low=st.floats(0.001, 10),
    width=st.floats(0.01, 10),
    scale=st.sampled_from(["linear", "log"]),
    step=st.sampled_from([None, 0.001, 0.005]),
    gene=st.floats(0, 1),
)
def test_encoding_a_decoded_value_leads_back_within_a_step(
    low: float, width: float, scale: str, step: float | None, gene: float
) -> None:
    searched = Range(range=(low, low + width), scale=scale, step=step)
    value = searched.decode(gene)
    again = searched.decode(searched.encode(value))
    assert again == pytest.approx(value, abs=(step or 0) * 1.001 + 1e-5 * (low + width))


@given(st.floats(-0.2, 1.2))
def test_a_choice_decodes_any_gene_and_encodes_to_the_middle_of_its_part(gene: float) -> None:
    choice = Choice(choice=("ties", "dare_ties", "linear"))
    option = choice.decode(gene)
    assert choice.decode(choice.encode(option)) == option


def test_a_start_is_encoded_from_parameter_values_and_decodes_to_them() -> None:
    spec = SpaceSpec(
        method="ties",
        layer_groups=2,
        parameters={
            "weight": Range(range=(0, 1.5), per=("model", "layer_group"), step=0.001),
            "density": Range(range=(0.1, 1), per=("model",), step=0.001),
            "lambda": Range(range=(0.5, 2), step=0.001),
        },
    )
    space = SearchSpace(spec, "org/base", MODELS, index_of("llama", 4))
    values = {"weight": {"org/a": 0.25, "org/b": 0.75}, "density": 0.2, "lambda": 1.0}
    recipe = space.decode(space.encode(values))
    weights = [evaluate(s.parameters["weight"], "model.layers.1.x", 0.3) for s in recipe.models]
    assert weights == [0.25, 0.75]
    assert evaluate(recipe.models[1].parameters["density"], "x", 0.0) == 0.2
    assert evaluate(recipe.parameters["lambda"], "x", 0.0) == 1.0


def test_a_method_that_is_searched_is_the_first_gene() -> None:
    spec = SpaceSpec(
        method=Choice(choice=("task_arithmetic", "ties")),
        parameters={"weight": Range(range=(0, 1)), "density": Range(range=(0.1, 1))},
    )
    space = SearchSpace(spec, "org/base", MODELS, index_of("llama", 2))
    first = space.decode(np.array([0.2, 0.5, 0.5]))
    second = space.decode(np.array([0.8, 0.5, 0.5]))
    assert (first.merge_method, second.merge_method) == ("task_arithmetic", "ties")
    assert "density" not in first.models[0].parameters
    assert "density" in second.models[0].parameters


def test_slerp_merges_the_base_itself_and_the_other_methods_do_not() -> None:
    spec = SpaceSpec(method="slerp", parameters={"t": Range(range=(0, 1))})
    space = SearchSpace(spec, "org/base", ("org/a",), index_of("llama", 2))
    recipe = space.decode(np.array([0.3]))
    assert [source.model for source in recipe.models] == ["org/base", "org/a"]


def test_a_genome_of_another_length_is_refused() -> None:
    spec = SpaceSpec(method="slerp", parameters={"t": 0.5})
    space = SearchSpace(spec, "org/base", ("org/a",), index_of("llama", 2))
    assert space.dimension == 0
    with pytest.raises(ValueError, match="1 genes for a space of 0"):
        space.decode(np.array([0.3]))


def test_values_that_are_equal_are_spelt_equal() -> None:
    searched = Range(range=(-1, 1), step=0.01)
    assert str(searched.decode(0.4999)) == "0.0"


@settings(max_examples=30)
@given(st.sampled_from([(1.0, 0.0), (0.0, 0.0), (0.0, float("inf")), (float("nan"), 1.0)]))
def test_a_range_that_is_empty_or_endless_is_refused(ends: tuple[float, float]) -> None:
    with pytest.raises(ValidationError):
        Range(range=ends)
