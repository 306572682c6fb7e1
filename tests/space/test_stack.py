"""Stacked layers: any genome is a model, slots that are off say nothing, the start is the base."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from evomerge.errors import SpecError
from evomerge.layout import CheckpointIndex, TensorInfo, read_index
from evomerge.merging.validate import validate
from evomerge.recipe import Recipe
from evomerge.space import LayersSpec, SearchSpace, SpaceSpec
from tests.space.families import index_of
from tests.support import LAYERS, write_checkpoint

MODELS = ("org/a", "org/b")


def stack(layers: int = 4, models: tuple[str, ...] = MODELS, **fields: object) -> SearchSpace:
    spec = LayersSpec.model_validate({"max_layers": layers + 2, **fields})
    space = SpaceSpec(method="passthrough", layers=spec)
    return SearchSpace(space, "org/base", models, index_of("llama", layers))


def number_of_layers(recipe: Recipe) -> int:
    spans = [source.layer_range or (0, 0) for source in recipe.sources()]
    return sum(last - first for first, last in spans)


def runs(recipe: Recipe) -> list[tuple[str, int, int]]:
    return [(source.model, *(source.layer_range or (0, 0))) for source in recipe.sources()]


@st.composite
def stacks(draw: st.DrawFn) -> SearchSpace:
    layers, repeats = draw(st.integers(1, 6)), draw(st.integers(1, 3))
    models = MODELS[: draw(st.integers(1, 2))]
    most = layers * repeats * (len(models) + 1)
    fields = {
        "max_layers": draw(st.integers(layers, most)),
        "repeats": repeats,
        "block": draw(st.integers(1, 3)),
    }
    if draw(st.booleans()):
        fields["scale"] = None
    return stack(layers, models, **fields)


@st.composite
def stacks_with_genomes(draw: st.DrawFn) -> tuple[SearchSpace, np.ndarray]:
    space = draw(stacks())
    genes = st.one_of(st.floats(0, 1), st.sampled_from([0.0, 0.5, 1.0]))
    size = space.dimension
    return space, np.array(draw(st.lists(genes, min_size=size, max_size=size)))


@settings(deadline=None)
@given(stacks_with_genomes())
def test_any_genome_is_a_recipe_with_some_layers_and_never_too_many(
    case: tuple[SearchSpace, np.ndarray],
) -> None:
    space, genome = case
    recipe = space.decode(genome)
    validate(recipe)
    assert space.spec.layers is not None
    assert 1 <= number_of_layers(recipe) <= space.spec.layers.max_layers


@settings(deadline=None)
@given(stacks_with_genomes(), st.floats(0, 0.499), st.floats(0, 1))
def test_genes_of_a_slot_that_is_off_change_nothing(
    case: tuple[SearchSpace, np.ndarray], lower: float, scale: float
) -> None:
    space, genome = case
    switches = [gene.parameter == "layer" for gene in space.genes]
    slots = sum(switches)
    off = [place for place in range(slots) if genome[place] < 0.5]
    assume(off)
    assume(len(off) < slots)
    changed = genome.copy()
    changed[off] = lower
    if len(genome) > slots:
        changed[[slots + place for place in off]] = scale
    assert space.decode(changed).recipe_id == space.decode(genome).recipe_id


@settings(deadline=None)
@given(stacks())
def test_the_start_is_the_base_model_unchanged(space: SearchSpace) -> None:
    recipe = space.decode(space.encode({"weight": {"org/a": 1.0}, "lambda": 1.0}, "ties"))
    assert runs(recipe) == [("org/base", 0, space.index.num_layers)]
    assert all(not source.parameters for source in recipe.sources())


@settings(deadline=None)
@given(stacks())
def test_every_gene_has_a_label_of_its_own(space: SearchSpace) -> None:
    assert len({gene.label for gene in space.genes}) == space.dimension


def test_where_every_slot_is_off_the_one_nearest_to_on_is_the_model() -> None:
    space = stack(scale=None)
    genome = np.full(space.dimension, 0.1)
    genome[6] = 0.3
    assert runs(space.decode(genome)) == [("org/a", 2, 3)]


def test_layers_run_in_the_order_of_the_slots_and_neighbours_are_one_slice() -> None:
    space = stack(scale=None, max_layers=12)
    genome = np.zeros(space.dimension)
    genome[[0, 1, 2, 6, 7, 9]] = 1
    assert runs(space.decode(genome)) == [
        ("org/base", 0, 3),
        ("org/a", 2, 4),
        ("org/b", 1, 2),
    ]


def test_of_too_many_layers_those_furthest_on_stay() -> None:
    space = stack(scale=None, max_layers=4)
    genome = np.full(space.dimension, 0.6)
    genome[[1, 4, 5, 11]] = (0.9, 0.7, 0.8, 1.0)
    assert runs(space.decode(genome)) == [
        ("org/base", 1, 2),
        ("org/a", 0, 2),
        ("org/b", 3, 4),
    ]


def test_without_a_limit_a_quarter_more_layers_than_the_base_has_are_allowed() -> None:
    space = stack(6, scale=None, max_layers=None)
    assert number_of_layers(space.decode(np.ones(space.dimension))) == 8
    assert LayersSpec().depth(32) == 40


def test_a_repeat_lays_all_layers_out_again() -> None:
    space = stack(2, ("org/a",), repeats=2, scale=None, max_layers=8)
    recipe = space.decode(np.ones(space.dimension))
    assert runs(recipe) == [("org/base", 0, 2), ("org/a", 0, 2)] * 2


def test_blocks_turn_neighbouring_layers_on_together() -> None:
    space = stack(5, ("org/a",), block=2, scale=None, max_layers=10)
    assert [gene.label for gene in space.genes][:3] == [
        "layer[org/base, layers 0–1, repeat 0]",
        "layer[org/base, layers 2–3, repeat 0]",
        "layer[org/base, layer 4, repeat 0]",
    ]
    genome = np.array([1, 0, 1, 0, 1, 0])
    assert runs(space.decode(genome)) == [
        ("org/base", 0, 2),
        ("org/base", 4, 5),
        ("org/a", 2, 4),
    ]


def test_a_scale_divides_what_this_layer_and_all_later_ones_add() -> None:
    space = stack(3, ("org/a",))
    start = space.encode({})
    start[6 + 1] = 1.0  # the input of the base's second layer, doubled
    recipe = space.decode(start)
    assert runs(recipe) == [("org/base", 0, 1), ("org/base", 1, 3)]
    first, second = recipe.sources()
    assert first.parameters == {}
    rules = [(rule.filter, rule.value) for rule in second.parameters["scale"]]
    assert rules == [("o_proj", 0.5), ("down_proj", 0.5), (None, 1.0)]


@pytest.mark.parametrize(
    ("fields", "where", "says"),
    [
        ({"max_layers": 3}, "max_layers", "below the base model's 4 layers"),
        ({"max_layers": 13}, "max_layers", "there are 12 layers in all"),
    ],
)
def test_a_number_of_layers_that_makes_no_sense_is_refused(
    fields: dict[str, object], where: str, says: str
) -> None:
    with pytest.raises(SpecError, match=says) as caught:
        stack(**fields)
    assert caught.value.where == f"space.layers.{where}"
    assert caught.value.remedy


def changed_index(**config: object) -> CheckpointIndex:
    return replace(index_of("llama", 2), config=config)


def with_tensor(name: str) -> CheckpointIndex:
    index = index_of("llama", 2)
    names = [name] if "{" not in name else [name.format(layer) for layer in range(2)]
    extra = {one: TensorInfo(one, "F32", (2, 2), Path("x"), 0, 16) for one in names}
    return replace(index, tensors={**index.tensors, **extra})


@pytest.mark.parametrize(
    ("index", "says"),
    [
        (changed_index(layer_types=["full_attention", "sliding_attention"]), "not all alike"),
        (with_tensor("model.layers.1.mlp.gate.weight"), "not all alike"),
        (with_tensor("model.layers.{}.post_feedforward_layernorm.weight"), "scale: null"),
        (index_of("mamba", 2), "scale: null"),
    ],
)
def test_models_whose_layers_cannot_be_stacked_or_scaled_are_refused(
    index: CheckpointIndex, says: str
) -> None:
    spec = SpaceSpec(method="passthrough", layers=LayersSpec(max_layers=3))
    with pytest.raises(SpecError, match=says):
        SearchSpace(spec, "base", ("a",), index)


@pytest.mark.parametrize(
    ("space", "says"),
    [
        ({"method": "ties", "layers": {"max_layers": 4}}, "write `method: passthrough`"),
        ({"method": "passthrough", "scale": 1, "layers": {"max_layers": 4}}, "takes no 'scale'"),
        ({"method": "passthrough", "layers": {"max_layers": 4, "block": 0}}, "greater than"),
        ({"method": "passthrough", "layers": {"max_layers": 4, "scale": {"range": [2, 3]}}}, "1"),
        ({"method": "passthrough", "layers": {"max_layers": 4, "scale": {"range": [0, 3]}}}, "0"),
        (
            {
                "method": "passthrough",
                "layers": {"max_layers": 4, "scale": {"range": [0.5, 2], "per": ["model"]}},
            },
            "remove per",
        ),
    ],
)
def test_what_stacking_does_not_take_is_refused(space: dict, says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        SpaceSpec.model_validate(space)
    details = caught.value.errors()[0]
    assert says in details["msg"] + str(details.get("ctx", {}).get("remedy", ""))


def test_a_stack_is_merged_into_a_model_of_that_many_layers(tmp_path: Path) -> None:
    from evomerge.merging.offline import merge_to_folder

    paths = [str(write_checkpoint(tmp_path / name, seed)) for seed, name in enumerate("bx")]
    spec = SpaceSpec(method="passthrough", layers=LayersSpec(max_layers=LAYERS + 3))
    space = SearchSpace(spec, paths[0], tuple(paths[1:]), read_index(Path(paths[0])))
    genome = space.encode({})
    genome[[1, 5, 6]] = (0, 1, 1)
    recipe = space.decode(genome)
    merge_to_folder(recipe, tmp_path / "out")
    merged = read_index(tmp_path / "out")
    assert merged.num_layers == LAYERS + 1 == merged.config["num_hidden_layers"]


def test_a_scaled_stack_computes_what_scaled_inputs_compute(tmp_path: Path) -> None:
    """Against transformers' own Llama, with each layer's input multiplied by hand."""
    import torch
    from transformers import AutoModelForCausalLM

    from evomerge.merging.offline import merge_to_folder
    from tests.evaluation import tiny

    paths = tiny.write_models(tmp_path, hidden=64, layers=3)
    models = (paths["base"], paths["one"])
    spec = SpaceSpec(method="passthrough", layers=LayersSpec(max_layers=6))
    space = SearchSpace(spec, models[0], models[1:], read_index(Path(models[0])))
    genome = np.array([1, 0, 1, 0, 1, 1, *np.random.default_rng(0).random(6)])
    merge_to_folder(space.decode(genome), tmp_path / "out")
    assert spec.layers is not None
    assert spec.layers.scale is not None
    scales = [spec.layers.scale.decode(float(genome[6 + place])) for place in (0, 2, 4, 5)]
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out").eval()
    plain = [AutoModelForCausalLM.from_pretrained(path).eval() for path in models]
    expected = plain[0]
    picked = [plain[0].model.layers[0], plain[0].model.layers[2], *plain[1].model.layers[1:]]
    for place, (layer, scale) in enumerate(zip(picked, scales, strict=True)):
        layer.self_attn.layer_idx = place
        layer.register_forward_pre_hook(lambda _, args, s=scale: (args[0] * s, *args[1:]))
    expected.model.layers = torch.nn.ModuleList(picked)
    expected.config.num_hidden_layers = len(picked)
    expected.model.norm, expected.lm_head = plain[1].model.norm, plain[1].lm_head
    tokens = torch.arange(12)[None] * 7 % 200
    with torch.inference_mode():
        found, wanted = (model(tokens, use_cache=False).logits for model in (merged, expected))
    assert torch.allclose(found, wanted, atol=2e-4), (found - wanted).abs().max()
