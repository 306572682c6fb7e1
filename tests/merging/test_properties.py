"""What holds for every method, whatever the models: order, sharding, threads and chunks change nothing.

One recipe for each method, merged fused and eagerly, whole and in pieces, and on tensors at the edges:
empty, without dimensions, of one entry, without any change, with NaN.
"""

import json

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from evomerge.errors import CheckpointError, EvomergeError, MergeError
from evomerge.merging.merge import MergeSource
from evomerge.merging.statistics import StatisticsCache
from evomerge.methods import METHODS
from evomerge.recipe import Recipe, Source, constant
from tests.merging.checkpoints import random_weights, save, tuned

SHARED = {
    "slerp": {"t": 0.3},
    "nearswap": {"t": 0.002},
    "sce": {"select_topk": 0.4},
    "breadcrumbs": {"rescale": True},
    "ties": {"scope": "model"},
    "ram": {"epsilon": 0.01},
    "ramplus_tl": {"epsilon": 0.01, "r": 0.7, "alpha": 0.9},
}
OWN = {
    "density": (0.4, 0.7, 0.55),
    "weight": (0.6, 0.3, 0.5),
    "gamma": (0.02, 0.05, 0.01),
    "epsilon": (0.1, 0.2, 0.05),
    "scale": (0.9,),
}
VARIANTS = {
    "ties by rows": ("ties", {"scope": "row", "rescale": True}),
    "ties by tensor, counted": ("ties", {"election": "count"}),
    "breadcrumbs by rows": ("breadcrumbs", {"scope": "row"}),
    "dare by probability": ("dare_ties", {"rescale_by": "probability"}),
    "della by probability": ("della", {"rescale_by": "probability"}),
    "nuslerp by rows": ("nuslerp", {"nuslerp_flatten": False}),
    "nuslerp by columns": ("nuslerp", {"nuslerp_flatten": False, "nuslerp_row_wise": True}),
    "model_stock by rows": ("model_stock", {"filter_wise": True}),
    "mlerp by tensor": ("mlerp", {"scope": "tensor"}),
    "sce, official": ("sce", {"select_topk": 0.4, "variant": "official"}),
}
TENSORWISE = [n for n, m in METHODS.items() if m.statistics is None and not m.rebuilds]
CASES = {name: (name, SHARED.get(name, {})) for name in TENSORWISE} | VARIANTS
RELATIVE = [name for name in TENSORWISE if METHODS[name].base in {"required", "origin"}]


def made(name, models="abc", shared=None, own=None):
    """A recipe of one case, over as many of the models as the method takes."""
    method_name, given = CASES[name]
    method = METHODS[method_name]
    models = models[: method.max_models or 3]
    if method.base == "endpoint":
        models = "a"
    numbers = {"a": 0, "b": 1, "c": 2}
    known = [p.name for p in method.parameters if p.per_model]
    sources = [
        Source(
            model=model,
            parameters={
                key: constant(
                    (own or {}).get(key, OWN[key][min(numbers[model], len(OWN[key]) - 1)])
                )
                for key in known
            },
        )
        for model in models
    ]
    if method.base == "endpoint":
        sources.insert(0, Source(model="base"))
    return Recipe(
        merge_method=method_name,
        base_model=None if method.base == "optional" else "base",
        models=tuple(sources),
        parameters={k: constant(v) for k, v in {**given, **(shared or {})}.items()},
        seed=3,
    )


def merge(paths, recipe, **options):
    with MergeSource(paths, cache=StatisticsCache(on_disk=False), **options) as source:
        return dict(source.merge(recipe))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def write(folder, weights):
    return {name: save(folder / name, x) for name, x in weights.items()}


def family(base, dtype=torch.bfloat16):
    weights = {"base": {name: x.to(dtype) for name, x in base.items()}}
    return weights | {name: tuned(weights["base"], i) for i, name in enumerate("abc", start=1)}


SHAPES = {
    "model.embed_tokens.weight": (40, 24),
    "model.layers.0.mlp.up_proj.weight": (33, 24),
    "model.layers.0.norm.weight": (24,),
    "model.layers.1.mlp.up_proj.weight": (33, 24),
    "lm_head.weight": (500, 281),
}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return write(tmp_path_factory.mktemp("models"), family(random_weights(SHAPES, 0)))


@pytest.mark.parametrize("name", CASES)
def test_threads_chunks_compilers_and_tables_change_nothing(models, name):
    recipe = made(name)
    wanted = merge(models, recipe)
    threads = torch.get_num_threads()
    assert same(merge(models, recipe, fused=False), wanted)
    assert same(merge(models, recipe, fused=False, chunk=512), wanted)
    assert same(merge(models, recipe, tables=False), wanted)
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            assert same(merge(models, recipe), wanted)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.parametrize("name", CASES)
def test_a_streamed_merge_is_the_same(models, name):
    wanted = merge(models, made(name))
    with MergeSource(models, cache=StatisticsCache(on_disk=False), tables=False) as source:
        assert same({n: x.clone() for n, x in source.stream(made(name))}, wanted)


@pytest.mark.parametrize("name", CASES)
def test_sharding_changes_nothing(models, tmp_path, name):
    """The same tensors in two files of another order."""
    sharded = {}
    for model, path in models.items():
        with MergeSource({"m": path}, cache=StatisticsCache(on_disk=False)) as source:
            tensors = {n: x.clone() for n, x in source.checkpoints["m"].tensors()}
        sharded[model] = tmp_path / model
        sharded[model].mkdir()
        (sharded[model] / "config.json").write_text((path / "config.json").read_text())
        home = {}
        for number, names in enumerate((sorted(tensors)[3:], sorted(tensors)[:3])):
            file = f"part-{number}.safetensors"
            save_file({n: tensors[n] for n in names}, sharded[model] / file)
            home |= dict.fromkeys(names, file)
        index = {"metadata": {}, "weight_map": home}
        (sharded[model] / "model.safetensors.index.json").write_text(json.dumps(index))
    assert same(merge(sharded, made(name)), merge(models, made(name)))


ORDERED = {"slerp", "nearswap", "arcee_fusion", "passthrough"}


@pytest.mark.parametrize("name", [n for n in CASES if CASES[n][0] not in ORDERED])
def test_the_order_of_the_models_changes_rounding_alone(models, name):
    """Masks are drawn by a model's place in the recipe, so all densities are 1 here."""
    full = {"density": 1.0}
    recipe = made(name, own=full)
    turned = recipe.model_copy(update={"models": recipe.models[::-1]})
    one, other = merge(models, recipe), merge(models, turned)
    for key, tensor in one.items():
        # Where a vote is undecided to the last bit, the order of its sum decides: an entry or two.
        far = (tensor.float() - other[key].float()).abs() > 2e-3
        assert far.float().mean() < 1e-3, key


@pytest.mark.parametrize("name", [n for n in CASES if METHODS[CASES[n][0]].parameter("lambda")])
def test_lambda_0_is_the_base(models, name):
    result = merge(models, made(name, shared={"lambda": 0.0}))
    with MergeSource(models, cache=StatisticsCache(on_disk=False)) as source:
        assert same(result, {n: x for n, x in source.checkpoints["base"].tensors() if n in result})


@pytest.mark.parametrize("name", [n for n in CASES if CASES[n][0] in RELATIVE])
def test_models_that_are_the_base_give_the_base(models, name):
    """Zero deltas: no norm, no direction, nothing to elect."""
    paths = dict.fromkeys(models, models["base"])
    result = merge(paths, made(name))
    with MergeSource(models, cache=StatisticsCache(on_disk=False)) as source:
        assert same(result, {n: x for n, x in source.checkpoints["base"].tensors() if n in result})


def test_ties_of_one_model_at_density_1_is_that_model(models):
    result = merge(models, made("ties", "a", own={"density": 1.0, "weight": 0.7}))
    with MergeSource(models, cache=StatisticsCache(on_disk=False)) as source:
        assert same(result, dict(source.checkpoints["a"].tensors()))


EDGES = {
    "layers.0.empty": (0, 5),
    "layers.0.scalar": (),
    "layers.0.one": (1,),
    "layers.0.column": (6, 1),
    "layers.0.row": (1, 6),
    "layers.0.cube": (2, 3, 4),
}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", CASES)
def test_tensors_of_every_shape_and_dtype(tmp_path, name, dtype):
    paths = write(tmp_path, family(random_weights(EDGES, 5), dtype))
    result = merge(paths, made(name))
    assert {n: tuple(x.shape) for n, x in result.items()} == EDGES
    assert all(x.isfinite().all() and x.dtype == dtype for x in result.values())
    assert same(merge(paths, made(name), fused=False), result)


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("tables", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_nan_and_infinity_are_refused(tmp_path, name, bad, tables):
    weights = family(random_weights(EDGES, 6))
    weights["a"]["layers.0.cube"].view(-1)[7] = bad
    paths = write(tmp_path, weights)
    with pytest.raises(CheckpointError, match="holds NaN or infinity"):
        merge(paths, made(name), tables=tables)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    name=st.sampled_from(sorted(CASES)),
    weights=st.tuples(*[st.sampled_from([-1.0, -0.5, 0.0, 0.5, 1.0])] * 3),
    densities=st.tuples(*[st.sampled_from([0.001, 0.3, 0.5, 0.999, 1.0])] * 3),
    normalize=st.booleans(),
)
def test_any_values_give_finite_weights_or_a_reason(models, name, weights, densities, normalize):
    recipe = made(name)
    sources = []
    for number, source in enumerate(recipe.models):
        own = dict(source.parameters)
        own |= {"weight": constant(weights[number])} if "weight" in own else {}
        own |= {"density": constant(densities[number])} if "density" in own else {}
        sources.append(source.model_copy(update={"parameters": own}))
    shared = dict(recipe.parameters)
    if METHODS[recipe.merge_method].parameter("normalize"):
        shared["normalize"] = constant(normalize)
    recipe = recipe.model_copy(update={"models": tuple(sources), "parameters": shared})
    try:
        result = merge(models, recipe)
    except (MergeError, EvomergeError) as error:
        assert error.remedy
        return
    assert all(x.isfinite().all() for x in result.values())
    assert same(merge(models, recipe, fused=False), result)
