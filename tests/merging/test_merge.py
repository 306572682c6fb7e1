"""Merging checkpoints: the same bits on every path, nothing modified, nothing silently wrong."""

import copy

import pytest
import torch
from safetensors.torch import load_file

from evomerge.errors import CheckpointError, MergeError, RecipeError
from evomerge.merging import compiler, native, runner
from evomerge.merging.kernels import Cut, Knobs, Select, Variant, make_step, pack_floats, pack_ints
from evomerge.merging.merge import MergeSource, merge_tensors
from evomerge.merging.statistics import StatisticsCache
from evomerge.recipe import Recipe, Rule, Slice, Source, constant
from tests.merging.checkpoints import llama, random_weights, recipe, save, tuned

OWN = {"a": {"weight": 0.6, "density": 0.4}, "b": {"weight": 0.3, "density": 0.7}}
PLAIN = {model: {"weight": own["weight"]} for model, own in OWN.items()}
RECIPES = {
    "linear": recipe("linear", PLAIN),
    "slerp": recipe("slerp", {"base": {}, "a": {}}, t=0.3),
    "task_arithmetic": recipe("task_arithmetic", PLAIN, lambda_=0.9),
    "ties": recipe("ties", OWN),
    "ties rescaled": recipe("ties", OWN, rescale=True),
    "ties off the grid": recipe("ties", {"a": {"weight": 1, "density": 0.12345}}),
    "ties with mixed signs": recipe("ties", {"a": {"weight": -1.0}, "b": {"weight": 0.4}}),
    "dare_linear": recipe("dare_linear", OWN),
    "dare_ties": recipe("dare_ties", OWN),
    "dare off the grid": recipe("dare_ties", {"a": {"weight": 1, "density": 0.12345}}),
}


def source(paths, **options):
    return MergeSource(paths, cache=StatisticsCache(on_disk=False), **options)


def merged(paths, made, **options):
    with source(paths, **options) as opened:
        return dict(opened.merge(made))


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def make(folder, dtype=torch.bfloat16, shapes=None, **config):
    weights = {"base": random_weights(shapes or llama(), 0, dtype)}
    weights |= {"a": tuned(weights["base"], 1), "b": tuned(weights["base"], 2)}
    return {name: save(folder / name, x, **config) for name, x in weights.items()}, weights


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    return make(tmp_path_factory.mktemp("models"))[0]


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """One matrix large enough for several chunks and threads."""
    return make(tmp_path_factory.mktemp("big"), shapes={"layers.0.w": (700, 501)})[0]


@pytest.mark.parametrize("name", RECIPES)
def test_fused_and_eager_give_the_same_bits(models, name):
    assert same(*(merged(models, RECIPES[name], fused=flag) for flag in (True, False)))


@pytest.mark.parametrize("name", RECIPES)
def test_the_result_does_not_depend_on_chunks_or_threads(big, name):
    wanted = merged(big, RECIPES[name], fused=True)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            assert same(merged(big, RECIPES[name], fused=True), wanted)
            assert same(merged(big, RECIPES[name], fused=False, chunk=1 << (9 + count)), wanted)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "select"),
    [
        ("linear", Select.ALL),
        ("task_arithmetic", Select.ALL),
        ("ties", Select.CUT),
        ("breadcrumbs", Select.BAND),
        ("dare_linear", Select.HASH),
        ("dare_ties", Select.HASH),
        ("della", Select.MASK),
    ],
)
def test_the_step_compiled_by_torch_gives_the_same_bits(method, select):
    """GPUs run the same function through torch.compile; here it is compiled for the CPU."""
    base, *models = (torch.randn(9000).bfloat16() for _ in range(4))
    cuts = Cut(0.5, 4000), Cut(1.5, 2000)
    knobs = [Knobs(w, w, *cuts, 1 << 30, (3, i)) for i, w in enumerate((0.5, 0.3, 0.2))]
    scalars = pack_floats(knobs, 1.0, 0.9), pack_ints(knobs, 0, 9000)
    masks = [model > 0 for model in models]
    step = make_step(Variant(method, method != "linear", (select,) * 3, normalize=True))
    results = []
    for run in (step, torch.compile(step, dynamic=True, fullgraph=True)):
        out = torch.empty_like(base)
        run(None if method == "linear" else base, models, masks, out, *scalars, None)
        results.append(out)
    assert torch.equal(*results)


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("fused", [True, False])
def test_inputs_are_never_modified(tmp_path, name, fused):
    """`.float()` of an fp32 tensor is the tensor itself: in-place arithmetic would change a model."""
    paths, weights = make(tmp_path, torch.float32)
    with source(paths, fused=fused) as opened:
        list(opened.merge(RECIPES[name]))
        views = {m: dict(opened.checkpoints[m].tensors()) for m in paths}
    for model, path in paths.items():
        assert same(dict(sorted(views[model].items())), dict(sorted(weights[model].items())))
        assert same(load_file(path / "model.safetensors"), weights[model])


def test_a_candidate_after_another_is_the_candidate_alone(models):
    with source(models) as opened:
        for made in RECIPES.values():
            dict(opened.merge(made))
        again = {name: dict(opened.merge(made)) for name, made in RECIPES.items()}
    assert all(same(again[name], merged(models, made)) for name, made in RECIPES.items())


@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 4)])
@pytest.mark.parametrize("name", RECIPES)
def test_scalars_single_entries_and_empty_tensors_are_merged(tmp_path, shape, name):
    paths, _ = make(tmp_path, shapes={"layers.0.w": shape})
    result = merged(paths, RECIPES[name])["layers.0.w"]
    assert result.shape == shape
    assert result.isfinite().all()


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_output_dtype_is_the_recipes_and_rounded_once(models, dtype):
    made = RECIPES["ties"].model_copy(update={"dtype": dtype})
    exact = merged(models, made.model_copy(update={"dtype": "float32"}))
    for name, tensor in merged(models, made).items():
        assert tensor.dtype == getattr(torch, dtype)
        assert torch.equal(tensor, exact[name].to(tensor.dtype))


def test_mixed_dtypes_of_models_are_merged_in_fp32(tmp_path):
    paths, weights = make(tmp_path)
    paths["a"] = save(tmp_path / "half", {n: x.half() for n, x in weights["a"].items()})
    paths["b"] = save(tmp_path / "full", {n: x.float() for n, x in weights["b"].items()})
    result = merged(paths, RECIPES["ties"])
    assert same(result, merged(paths, RECIPES["ties"], fused=False))
    assert {x.dtype for x in result.values()} == {torch.bfloat16}


def test_merging_into_destinations_fills_views_in_place(models):
    """A fused parameter takes two tensors; its storage stays where it is."""
    wanted = merged(models, RECIPES["ties"])
    head, embedding = "lm_head.weight", "model.embed_tokens.weight"
    together = torch.zeros(80, 8, dtype=torch.bfloat16)
    places = {head: together[:40], embedding: together[40:]}
    with source(models) as opened:
        assert opened.merge_into(RECIPES["ties"], places.get) == 2
    assert torch.equal(together, torch.cat([wanted[head], wanted[embedding]]))


def test_merging_into_transposed_and_other_dtypes(models):
    wanted = merged(models, RECIPES["ties"].model_copy(update={"dtype": "float32"}))
    name = "model.layers.0.mlp.up_proj.weight"
    target = torch.zeros(8, 24).t()
    with source(models) as opened:
        opened.merge_into(RECIPES["ties"], {name: target}.get)
    assert torch.equal(target, wanted[name])


def test_a_destination_of_another_size_is_refused(models):
    with source(models) as opened, pytest.raises(MergeError, match="destination"):
        opened.merge_into(RECIPES["ties"], {"model.norm.weight": torch.zeros(3)}.get)


def test_parameters_that_need_gradients_can_be_destinations(models):
    parameter = torch.nn.Parameter(torch.zeros(8, dtype=torch.bfloat16))
    for fused in (True, False):
        with source(models, fused=fused) as opened:
            opened.merge_into(RECIPES["ties"], {"model.norm.weight": parameter}.get)
        wanted = merged(models, RECIPES["ties"])["model.norm.weight"]
        assert torch.equal(parameter.detach(), wanted)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
@pytest.mark.parametrize("method", ["ties", "dare_ties", "linear"])
def test_nan_in_a_model_is_refused_by_name(tmp_path, bad, method):
    paths, weights = make(tmp_path)
    broken = copy.deepcopy(weights["b"])
    broken["model.norm.weight"][3] = bad
    paths["b"] = save(tmp_path / "broken", broken)
    with pytest.raises(CheckpointError, match=r"model\.norm\.weight"):
        merged(paths, RECIPES[method])


@pytest.mark.parametrize("fused", [True, False])
def test_overflow_of_the_output_dtype_names_the_tensor(models, fused):
    made = recipe("linear", {"a": {"weight": 1e37}, "b": {"weight": 1e39}}, normalize=False)
    with pytest.raises(MergeError, match="not finite"):
        merged(models, made, fused=fused)
    half = recipe("linear", {"a": {"weight": 1e6}}, normalize=False)
    with pytest.raises(MergeError, match="not finite in float16"):
        merged(models, half.model_copy(update={"dtype": "float16"}), fused=fused)


@pytest.mark.parametrize("method", ["linear", "ties", "dare_linear"])
def test_weights_that_cancel_are_refused(models, method):
    own = {"a": {"weight": 1.0}, "b": {"weight": -1.0}}
    with pytest.raises(RecipeError, match="cancel"):
        merged(models, recipe(method, own, normalize=True))


def test_weights_that_cancel_in_one_layer_are_refused_by_tensor(models):
    own = (Source(model="a", parameters={"weight": constant(1.0)}),)
    rules = (Rule(filter="layers.1.mlp", value=-1.0), Rule(value=0.5))
    made = Recipe(
        merge_method="linear",
        base_model="base",
        models=(*own, Source(model="b", parameters={"weight": rules})),
    )
    with pytest.raises(MergeError, match=r"layers\.1\.mlp"):
        merged(models, made)


def test_shapes_that_differ_are_refused_with_both_shapes(tmp_path):
    paths, weights = make(tmp_path)
    cut = {n: x[:39] if x.shape[0] == 40 else x for n, x in weights["b"].items()}
    paths["b"] = save(tmp_path / "cut", cut)
    with pytest.raises(CheckpointError, match=r"\[39, 8\].*\[40, 8\]"):
        merged(paths, RECIPES["linear"])


def test_a_missing_tensor_is_refused_by_name(tmp_path):
    paths, weights = make(tmp_path)
    paths["b"] = save(tmp_path / "less", {n: x for n, x in weights["b"].items() if "norm" not in n})
    with pytest.raises(CheckpointError, match=r"no tensor .*norm"):
        merged(paths, RECIPES["linear"])


def test_tied_embeddings_are_merged_once(tmp_path):
    paths, weights = make(tmp_path, tie_word_embeddings=True)
    bare = {n: x for n, x in weights["b"].items() if n != "lm_head.weight"}
    paths["b"] = save(tmp_path / "bare", bare, tie_word_embeddings=True)
    result = merged(paths, RECIPES["ties"])
    assert "lm_head.weight" not in result
    assert "model.embed_tokens.weight" in result


def test_an_untied_base_takes_a_tied_experts_embedding_for_its_head(tmp_path):
    paths, weights = make(tmp_path)
    bare = {n: x for n, x in weights["b"].items() if n != "lm_head.weight"}
    paths["b"] = save(tmp_path / "bare", bare, tie_word_embeddings=True)
    made = recipe("linear", {"b": {"weight": 1.0}})
    head = merged(paths, made)["lm_head.weight"]
    assert torch.equal(head, weights["b"]["model.embed_tokens.weight"])


def test_buffers_are_copied_when_equal_and_refused_when_not(tmp_path):
    paths, weights = make(tmp_path)
    buffered = {m: {**x, "layers.0.ids": torch.arange(3)} for m, x in weights.items()}
    for model, x in buffered.items():
        paths[model] = save(tmp_path / f"{model}2", x)
    assert torch.equal(merged(paths, RECIPES["ties"])["layers.0.ids"], torch.arange(3))
    buffered["b"]["layers.0.ids"] = torch.arange(1, 4)
    paths["b"] = save(tmp_path / "b3", buffered["b"])
    with pytest.raises(CheckpointError, match=r"layers\.0\.ids"):
        merged(paths, RECIPES["ties"])


def test_slices_renumber_layers_and_take_the_ends_from_first_and_last(tmp_path):
    paths, weights = make(tmp_path)
    parts = [("a", (1, 2)), ("b", (0, 2))]
    slices = tuple(
        Slice(sources=(Source(model=m, layer_range=r, parameters={"weight": constant(1.0)}),))
        for m, r in parts
    )
    result = merged(paths, Recipe(merge_method="linear", slices=slices))
    q = "model.layers.{}.self_attn.q_proj.weight".format
    wanted = {
        q(0): ("a", q(1)),
        q(1): ("b", q(0)),
        q(2): ("b", q(1)),
        "model.embed_tokens.weight": ("a", "model.embed_tokens.weight"),
        "model.norm.weight": ("b", "model.norm.weight"),
        "lm_head.weight": ("b", "lm_head.weight"),
    }
    for name, (model, read) in wanted.items():
        assert torch.equal(result[name], weights[model][read])


def test_without_a_compiler_people_are_told_and_the_result_is_the_same(models, monkeypatch):
    wanted = merged(models, RECIPES["ties"])
    monkeypatch.setattr(runner, "compiler", lambda: None)
    said = []
    assert same(merged(models, RECIPES["ties"], notify=said.append), wanted)
    assert len(said) == 1
    assert "compiler" in said[0]


def test_a_compiler_that_fails_costs_speed_and_nothing_else(models, monkeypatch, tmp_path):
    wanted = merged(models, RECIPES["ties"], fused=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiler, "compiler", lambda: "/bin/false")
    monkeypatch.setattr(native, "_function", native._function.__wrapped__)
    said = []
    assert same(merged(models, RECIPES["ties"], notify=said.append), wanted)
    assert len(said) == 1


def test_tables_on_disk_are_used_again_and_broken_ones_replaced(models, tmp_path):
    wanted = merged(models, RECIPES["ties"])
    for _ in range(2):
        with MergeSource(models, cache=StatisticsCache(tmp_path)) as opened:
            assert same(dict(opened.merge(RECIPES["ties"])), wanted)
        for file in tmp_path.rglob("*.npy"):
            file.write_bytes(file.read_bytes()[:40])
    assert not list(tmp_path.rglob("*.tmp"))


def test_merge_tensors_opens_merges_and_closes(models, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert same(dict(merge_tensors(RECIPES["ties"], models)), merged(models, RECIPES["ties"]))
