"""Where merges go wrong elsewhere, or did once: one test for each trap, in plain numbers."""

import json

import numpy as np
import pytest
import torch

from evomerge.errors import CheckpointError, MergeError, RecipeError
from evomerge.merging.merge import MergeSource
from evomerge.merging.mergekit_yaml import parse_recipe
from evomerge.merging.offline import merge_to_folder
from evomerge.merging.statistics import StatisticsCache
from evomerge.recipe import Recipe, Rule, Slice, Source
from tests.merging.checkpoints import recipe, save

NAME = "layers.0.w"


def merge(folder, made, **tensors):
    """The merge of models that have one tensor each, given as lists of numbers."""
    paths = {}
    for model, values in tensors.items():
        weight = values if isinstance(values, torch.Tensor) else torch.tensor(values)
        paths[model] = save(folder / model, {NAME: weight})
    with MergeSource(paths, cache=StatisticsCache(on_disk=False)) as source:
        return dict(source.merge(made))[NAME]


def both(method, own=None, **shared):
    return recipe(method, {"a": own or {}, "b": own or {}}, **shared)


def test_weights_are_not_rounded_to_the_models_dtype(tmp_path):
    """0.3 in bf16 is 0.30078; a delta of 96 times that would come out as 28.875, not 28.8."""
    made = recipe("task_arithmetic", {"a": {"weight": 0.3}}).model_copy(
        update={"out_dtype": "float32"}
    )
    base, model = torch.zeros(1).bfloat16(), torch.tensor([96.0]).bfloat16()
    assert merge(tmp_path, made, base=base, a=model).item() == pytest.approx(28.8, abs=1e-5)


@pytest.mark.parametrize("method", ["linear", "multislerp", "mlerp"])
def test_weights_without_a_sum_are_refused(tmp_path, method):
    made = recipe(method, {"a": {"weight": 1.0}, "b": {"weight": -1.0}})
    with pytest.raises((MergeError, RecipeError), match="cancel"):
        merge(tmp_path, made, base=[1.0, 2.0], a=[1.0, 3.0], b=[2.0, 2.0])


def test_slerp_of_opposite_models_takes_the_line(tmp_path):
    made = recipe("slerp", {"base": {}, "a": {}}, t=0.5)
    assert merge(tmp_path, made, base=[1.0, 2.0], a=[-1.0, -2.0]).tolist() == [0.0, 0.0]


def test_multislerp_leaves_tensors_alone_that_no_model_changed(tmp_path):
    own = {"weight": 1.0}
    made = recipe("multislerp", {"a": own, "b": own, "c": own})
    same = {model: [1.0, 2.0] for model in ("base", "a", "b", "c")}
    assert merge(tmp_path, made, **same).tolist() == [1.0, 2.0]


def test_the_karcher_mean_of_opposite_models_is_the_first(tmp_path):
    made = recipe("karcher", {"a": {}, "b": {}}).model_copy(update={"base_model": None})
    merged = merge(tmp_path, made, a=[3.0, 4.0], b=[-3.0, -4.0])
    assert merged.tolist() == pytest.approx([3.0, 4.0])


@pytest.mark.parametrize("method", ["ties", "breadcrumbs", "dare_ties"])
def test_density_0_is_refused(method):
    text = f"merge_method: {method}\nbase_model: base\nmodels:\n"
    with pytest.raises(RecipeError, match="density"):
        parse_recipe(text + "  - {model: a, parameters: {weight: 1, density: 0}}\n")


def test_small_tensors_keep_an_entry_at_any_density(tmp_path):
    made = recipe("ties", {"a": {"weight": 1.0, "density": 0.01}})
    merged = merge(tmp_path, made, base=[0.0, 0.0, 0.0], a=[1.0, 3.0, 2.0])
    assert merged.tolist() == [0.0, 3.0, 0.0]


@pytest.mark.parametrize("gamma", [0.0, 0.01])
def test_breadcrumbs_without_outliers_keeps_what_density_says(tmp_path, gamma):
    made = recipe("breadcrumbs", {"a": {"weight": 1.0, "density": 0.5, "gamma": gamma}})
    merged = merge(tmp_path, made, base=[0.0] * 4, a=[4.0, 1.0, 3.0, 2.0])
    assert merged.tolist() == [4.0, 0.0, 3.0, 0.0]


def test_breadcrumbs_drops_the_largest_first(tmp_path):
    made = recipe("breadcrumbs", {"a": {"weight": 1.0, "density": 0.5, "gamma": 0.25}})
    merged = merge(tmp_path, made, base=[0.0] * 4, a=[4.0, 1.0, 3.0, 2.0])
    assert merged.tolist() == [0.0, 0.0, 3.0, 2.0]


@pytest.mark.parametrize(("density", "epsilon"), [(0.1, 0.2), (0.9, 0.2), (0.5, 0.5)])
def test_chances_outside_0_and_1_are_refused(tmp_path, density, epsilon):
    made = recipe("della", {"a": {"weight": 1.0, "density": density, "epsilon": epsilon}})
    with pytest.raises(MergeError, match="leaves"):
        merge(tmp_path, made, base=[[0.0, 0.0]], a=[[1.0, 2.0]])


def test_rows_of_one_entry_are_kept_with_the_density(tmp_path):
    made = recipe("della", {"a": {"weight": 1.0, "density": 0.5}}, normalize=False, rescale=False)
    merged = merge(tmp_path, made, base=torch.zeros(2000, 1), a=torch.ones(2000, 1))
    assert merged.mean().item() == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("method", ["dare_linear", "della_linear"])
def test_what_is_kept_grows_by_its_probability_where_the_paper_is_asked_for(tmp_path, method):
    own = {"weight": 1.0, "density": 0.5} | ({"epsilon": 0.1} if method == "della_linear" else {})
    made = recipe(method, {"a": own}, rescale_by="probability")
    merged = merge(tmp_path, made, base=torch.zeros(50, 400), a=torch.ones(50, 400))
    assert merged.mean().item() == pytest.approx(1.0, abs=0.03)
    kept = merged[merged > 0]
    if method == "dare_linear":
        assert (kept == 2.0).all()
    else:
        assert 1 / 0.6 - 1e-4 <= kept.min() <= kept.max() <= 1 / 0.4 + 1e-4


def test_model_stock_of_opposed_models_is_the_base(tmp_path):
    merged = merge(tmp_path, both("model_stock"), base=[1.0, 1.0], a=[2.0, 1.0], b=[0.0, 1.0])
    assert merged.tolist() == [1.0, 1.0]


def test_model_stock_does_not_take_small_deltas_for_none(tmp_path):
    """Two equal deltas of norm 1e-5 agree wholly: the average, not the base."""
    step = 2.0**-17
    merged = merge(tmp_path, both("model_stock"), base=[1.0], a=[1.0 + step], b=[1.0 + step])
    assert merged.item() == 1.0 + step


def test_sce_weighs_models_by_energy_however_small_the_deltas(tmp_path):
    """Deltas of 1e-3 and 2e-3 of one sign weigh 1 to 4; uniform weights would give 1.5e-3."""
    zeros = torch.zeros(100)
    merged = merge(tmp_path, both("sce"), base=zeros, a=zeros + 1e-3, b=zeros + 2e-3)
    assert merged.numpy() == pytest.approx(np.full(100, 1.8e-3), rel=1e-4)


def test_the_two_readings_of_sce_differ_and_agree_where_all_is_selected(tmp_path):
    generator = torch.Generator().manual_seed(0)
    tensors = {m: torch.randn(10, 10, generator=generator) for m in ("base", "a", "b")}
    merged = [
        merge(
            tmp_path / f"{share}{variant}",
            both("sce", select_topk=share, variant=variant),
            **tensors,
        )
        for share in (0.3, 1.0)
        for variant in ("selected", "official")
    ]
    assert (merged[0] != merged[1]).float().mean() > 0.3
    assert torch.equal(merged[2], merged[3])


def test_the_votes_of_ties_by_mass_and_by_count(tmp_path):
    own = {"weight": 1.0}
    tensors = {"base": [0.0], "a": [-3.0], "b": [1.0], "c": [1.0]}
    elected = [
        merge(
            tmp_path / vote, recipe("ties", dict.fromkeys("abc", own), election=vote), **tensors
        ).item()
        for vote in ("sum", "count")
    ]
    assert elected == [-3.0, 1.0]


def test_ties_over_the_whole_model_trims_small_tensors_more(tmp_path):
    paths = {
        "base": save(
            tmp_path / "base", {"layers.0.w": torch.zeros(4), "layers.1.w": torch.zeros(4)}
        ),
        "a": save(
            tmp_path / "a",
            {
                "layers.0.w": torch.tensor([8.0, 7.0, 6.0, 5.0]),
                "layers.1.w": torch.tensor([4.0, 3, 2, 1]),
            },
        ),
    }
    made = recipe("ties", {"a": {"weight": 1.0, "density": 0.625}}, scope="model")
    with MergeSource(paths, cache=StatisticsCache(on_disk=False)) as source:
        merged = dict(source.merge(made))
    assert merged["layers.0.w"].tolist() == [8.0, 7.0, 6.0, 5.0]
    assert merged["layers.1.w"].tolist() == [4.0, 0.0, 0.0, 0.0]


def test_a_model_that_is_listed_twice_is_refused():
    with pytest.raises(RecipeError, match="listed twice"):
        parse_recipe(
            "merge_method: linear\nmodels:\n"
            "  - {model: a, parameters: {weight: 1}}\n  - {model: a, parameters: {weight: 2}}\n"
        )


def test_quantised_models_are_refused_by_name(tmp_path):
    weights = {NAME: torch.zeros(3)}
    paths = {
        "base": save(tmp_path / "base", weights),
        "a": save(tmp_path / "a", weights, quantization_config={"quant_method": "gptq"}),
    }
    made = recipe("task_arithmetic", {"a": {"weight": 1.0}})
    with pytest.raises(CheckpointError, match="gptq"), MergeSource(paths) as source:
        list(source.merge(made))


def test_lists_with_an_entry_a_layer_follow_the_layers_that_are_taken(tmp_path):
    weights = {f"layers.{i}.w": torch.full((2,), float(i)) for i in range(4)}
    types = ["full", "sliding", "sliding", "sliding"]
    path = save(tmp_path / "a", weights, num_hidden_layers=4, layer_types=types)
    spans = ((1, 3), (0, 2), (3, 4))
    made = Recipe(
        merge_method="passthrough",
        slices=tuple(Slice(sources=(Source(model="a", layer_range=span),)) for span in spans),
    )
    merge_to_folder(made, tmp_path / "out", models={"a": path})
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["num_hidden_layers"] == 5
    assert config["layer_types"] == ["sliding", "sliding", "full", "sliding", "sliding"]


def test_gradients_give_tensors_outside_the_layers_their_first_value(tmp_path):
    names = ["model.embed_tokens.weight", "layers.0.w", "layers.1.w", "model.norm.weight"]
    paths = {
        model: save(tmp_path / model, {name: torch.full((2,), value) for name in names})
        for model, value in (("base", 0.0), ("a", 1.0))
    }
    made = recipe("task_arithmetic", {"a": {}})
    sources = (Source(model="a", parameters={"weight": (Rule(value=(0.25, 0.75)),)}),)
    with MergeSource(paths, cache=StatisticsCache(on_disk=False)) as source:
        merged = dict(source.merge(made.model_copy(update={"models": sources})))
    assert [merged[name][0].item() for name in names] == [0.25, 0.25, 0.75, 0.25]
