"""Every declared method can be searched: any genome is a recipe, and starts are encoded."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from evomerge.merging.validate import validate
from evomerge.methods import METHODS
from evomerge.recipe import evaluate
from evomerge.space import METHOD_GENE, Choice, Range, SearchSpace, SpaceSpec
from tests.space.any_method import MODELS, any_space, models_for, range_of, with_genomes
from tests.space.families import index_of


@settings(max_examples=150, deadline=None)
@given(st.data(), st.booleans())
def test_any_genome_of_any_method_is_a_valid_recipe(data: st.DataObject, several: bool) -> None:
    space = data.draw(any_space(several))
    recipe = space.decode(data.draw(with_genomes(space)))
    validate(recipe)
    assert recipe.merge_method in space.spec.methods


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_genes_of_parameters_that_the_chosen_method_lacks_change_nothing(
    data: st.DataObject,
) -> None:
    space = data.draw(any_space(several=True))
    genome = data.draw(with_genomes(space))
    recipe = space.decode(genome)
    method = METHODS[recipe.merge_method]
    idle = [
        place
        for place, gene in enumerate(space.genes)
        if gene.parameter != METHOD_GENE and method.parameter(gene.parameter) is None
    ]
    assume(idle)
    changed = genome.copy()
    changed[idle] = 1.0 - changed[idle]
    assert space.decode(changed).recipe_id == recipe.recipe_id


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(sorted(METHODS)))
def test_values_that_are_encoded_come_back(data: st.DataObject, name: str) -> None:
    method = METHODS[name]
    models = models_for([method]) or ()
    spec, values = (
        SpaceSpec.model_validate(
            {"method": name, **{p.name: _whole_space(p) for p in method.parameters}}
        ),
        {},
    )
    space = SearchSpace(spec, "org/base", models, index_of("llama", 4))
    for own, searched in spec.values.items():
        values[own] = searched.decode(data.draw(st.floats(0, 1)))
    recipe = space.decode(space.encode(values))
    for own, value in values.items():
        settings_of = [recipe.parameters, *(source.parameters for source in recipe.models or ())]
        found = [evaluate(s[own], "model.layers.1.x", 0.3) for s in settings_of if own in s]
        assert found
        for one in found:
            near = one == value or one == pytest.approx(value, rel=1e-5, abs=1e-9)
            assert near, own


def _whole_space(parameter) -> Range | Choice:
    if parameter.kind in {"bool", "choice"}:
        return Choice(choice=parameter.choices or (False, True))
    return Range(range=range_of(parameter), scale=parameter.scale)


def test_a_whole_number_is_searched_where_the_method_takes_one() -> None:
    spec = SpaceSpec(method="karcher", parameters={"max_iter": Range(range=(1, 8))})
    space = SearchSpace(spec, "org/base", MODELS, index_of("llama", 2))
    assert space.genes[0].cells == 8
    genes = np.linspace(0, 1, 801)
    found = [evaluate(space.decode(np.array([g])).parameters["max_iter"], "", 0) for g in genes]
    counts = [found.count(value) for value in range(1, 9)]
    assert sum(counts) == 801, "whole numbers alone"
    assert max(counts) - min(counts) <= 2, "each has an equal share of the gene"


def test_whole_numbers_can_be_asked_for_and_follow_layer_groups() -> None:
    searched = Range(range=(1, 100), scale="log", integer=True, per=("layer_group",))
    spec = SpaceSpec(
        method="karcher",
        layer_groups=3,
        across_layers="linear",
        parameters={"max_iter": searched},
    )
    space = SearchSpace(spec, "org/base", MODELS, index_of("llama", 7))
    recipe = space.decode(np.random.default_rng(0).random(space.dimension))
    values = [
        value
        for rule in recipe.parameters["max_iter"]
        if isinstance(rule.value, tuple)
        for value in rule.value
    ]
    assert len(values) == 7
    assert all(float(value).is_integer() for value in values)


def test_options_and_switches_are_genes_cut_into_equal_parts() -> None:
    spec = SpaceSpec(
        method="ties",
        parameters={
            "weight": 0.5,
            "election": Choice(choice=("sum", "count")),
            "normalize": Choice(choice=(True, False)),
        },
    )
    space = SearchSpace(spec, "org/base", MODELS, index_of("llama", 2))
    assert space.cells == (2, 2)
    first, last = space.decode(np.array([0.2, 0.2])), space.decode(np.array([0.8, 0.8]))
    assert evaluate(first.parameters["election"], "x", 0) == "sum"
    assert evaluate(last.parameters["election"], "x", 0) == "count"
    assert evaluate(first.parameters["normalize"], "x", 0) is True
    assert evaluate(last.parameters["normalize"], "x", 0) is False


def test_a_start_takes_the_methods_defaults_for_options_that_it_does_not_name() -> None:
    spec = SpaceSpec(
        method="ties",
        parameters={
            "weight": 0.5,
            "scope": Choice(choice=("row", "model", "tensor")),
            "normalize": Choice(choice=(False, True)),
            "rescale": Choice(choice=(True,)),
        },
    )
    space = SearchSpace(spec, "org/base", MODELS, index_of("llama", 2))
    recipe = space.decode(space.encode({"normalize": False}))
    assert evaluate(recipe.parameters["scope"], "x", 0) == "tensor"
    assert evaluate(recipe.parameters["normalize"], "x", 0) is False
    assert evaluate(recipe.parameters["rescale"], "x", 0) is True


@pytest.mark.parametrize("name", sorted(METHODS))
def test_the_base_is_where_the_method_wants_it(name: str) -> None:
    method = METHODS[name]
    required = {p.name: range_of(p)[0] for p in method.parameters if p.required}
    if name.startswith("della"):
        required["density"] = 0.5
    models = models_for([method]) or ()
    spec = SpaceSpec(method=name, parameters=required)
    recipe = SearchSpace(spec, "org/base", models, index_of("llama", 2)).decode(np.zeros(0))
    sources = [source.model for source in recipe.models or ()]
    assert recipe.base_model == "org/base"
    assert sources == ["org/base", *models] if method.base == "endpoint" else list(models)
    validate(recipe)
