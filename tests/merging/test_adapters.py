"""Adapters are merged from their factors in fp32, whole and exactly, or refused by name."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from safetensors.torch import save_file

from evomerge.errors import CheckpointError
from evomerge.merging.merge import MergeSource
from evomerge.merging.statistics import StatisticsCache
from evomerge.recipe import Recipe, Source, constant
from tests.merging.adapters import PREFIX, factors, linear, save_adapter
from tests.merging.checkpoints import llama, random_weights, recipe, save, tuned

Q = "model.layers.0.self_attn.q_proj"
UP = "model.layers.1.mlp.up_proj"


@pytest.fixture(scope="module")
def weights():
    return random_weights(llama(), 0)


@pytest.fixture
def base(tmp_path, weights):
    return save(tmp_path / "base", weights)


def alone(folders, model="base+adapter", dtype="float32"):
    """The merge that is `model`, unchanged."""
    one = Source(model=model, parameters={"weight": constant(1.0)})
    made = Recipe(merge_method="linear", base_model=model, models=(one,), dtype=dtype)
    return merged(folders, made)


def merged(folders, made):
    with MergeSource(folders, cache=StatisticsCache(on_disk=False)) as source:
        return dict(source.merge(made))


def close(ours, exact):
    """Whether it is the float64 result to fp32 accuracy."""
    return (ours.double() - exact).abs().max() <= 2e-7 * exact.abs().max()


def test_factors_are_added_as_a_float64_oracle_adds_them(tmp_path, weights, base):
    a, b = factors((8, 8), 4, 1)
    c, d = factors((24, 8), 4, 2)
    adapter = save_adapter(tmp_path / "adapter", linear(Q, a, b) | linear(UP, c, d))
    result = alone({"base": base, "adapter": adapter})
    for module, low, high in ((Q, a, b), (UP, c, d)):
        start = weights[f"{module}.weight"].double()
        assert close(result[f"{module}.weight"], start + 2.0 * high.double() @ low.double())
    others = result.keys() - {f"{Q}.weight", f"{UP}.weight"}
    assert all(torch.equal(result[name], weights[name].float()) for name in others)


def test_folding_into_bf16_first_loses_about_a_third_of_a_small_delta(tmp_path):
    """Why adapters are never merged through a bf16 checkpoint: norm 10 on weights of norm 2000."""
    generator = torch.Generator().manual_seed(3)
    shape = (1024, 1024)
    weight = (torch.randn(shape, generator=generator) * 2000 / 1024).bfloat16()
    a, b = factors(shape, 4, 4, 1.0)
    b = b * (10 / (b @ a).norm() / 2.0)
    delta = 2.0 * b.double() @ a.double()
    base = save(tmp_path / "base", {f"{Q}.weight": weight})
    adapter = save_adapter(tmp_path / "adapter", linear(Q, a, b))
    folded = save(
        tmp_path / "folded", {f"{Q}.weight": (weight.double() + delta).to(torch.bfloat16)}
    )
    folders = {"base": base, "adapter": adapter, "folded": folded}
    kept = {}
    for model in ("base+adapter", "folded"):
        own = Source(model=model, parameters={"weight": constant(1.0)})
        made = Recipe(
            merge_method="task_arithmetic", base_model="base", models=(own,), dtype="float32"
        )
        kept[model] = merged(folders, made)[f"{Q}.weight"].double() - weight.double()
    lost = {m: ((x - delta).norm() / delta.norm()).item() for m, x in kept.items()}
    assert lost["base+adapter"] < 1e-4
    assert lost["folded"] > 0.2
    assert (kept["folded"] == 0).double().mean().item() > 0.2


def test_scales_follow_rank_alpha_patterns_and_rslora(tmp_path, weights, base):
    a, b = factors((8, 8), 2, 1)
    tensors = linear(Q, a, b)
    product = b.double() @ a.double()
    for number, (config, scale) in enumerate(
        [
            ({"r": 2, "lora_alpha": 3}, 1.5),
            ({"r": 2, "lora_alpha": 3, "use_rslora": True}, 3 / 2**0.5),
            ({"rank_pattern": {"q_proj": 2}}, 4.0),
            ({"r": 2, "alpha_pattern": {"layers.0.self_attn.q_proj": 5}}, 2.5),
            ({"r": 2, "alpha_pattern": {r".*\.1\..*q_proj": 5, "k_proj": 9}}, 4.0),
        ]
    ):
        adapter = save_adapter(tmp_path / f"adapter{number}", tensors, **config)
        result = alone({"base": base, "adapter": adapter})[f"{Q}.weight"]
        assert close(result, weights[f"{Q}.weight"].double() + scale * product)


@pytest.mark.parametrize("shape", [(8, 24), (8, 8)])
def test_conv1d_weights_are_stored_the_other_way_round(tmp_path, shape):
    inner, outer = shape
    name = "h.0.attn.c_attn.weight"
    start = random_weights({name: shape, "wte.weight": (10, 8)}, 0)
    a, b = factors((outer, inner), 4, 1)
    adapter = save_adapter(
        tmp_path / "adapter", linear("transformer.h.0.attn.c_attn", a, b), fan_in_fan_out=True
    )
    result = alone({"base": save(tmp_path / "base", start), "adapter": adapter})[name]
    assert close(result, start[name].double() + 2.0 * (b.double() @ a.double()).T)


def test_embeddings_saved_modules_and_biases_are_merged(tmp_path, weights):
    bias = f"{Q}.bias"
    start = {**weights, bias: torch.ones(8)}
    a, b = torch.randn(4, 40), torch.randn(8, 4)
    head, shift, low = torch.randn(40, 8), torch.randn(8), factors((8, 8), 4, 1)
    tensors = {
        f"{PREFIX}model.embed_tokens.lora_embedding_A": a,
        f"{PREFIX}model.embed_tokens.lora_embedding_B": b,
        f"{PREFIX}lm_head.modules_to_save.default.weight": head,
        f"{PREFIX}{Q}.base_layer.bias": shift,
        **linear(Q, *low),
    }
    adapter = save_adapter(tmp_path / "adapter", tensors, bias="lora_only")
    result = alone({"base": save(tmp_path / "base", start), "adapter": adapter})
    embedding = start["model.embed_tokens.weight"].double()
    assert close(result["model.embed_tokens.weight"], embedding + 2.0 * (b.double() @ a.double()).T)
    assert torch.equal(result["lm_head.weight"], head)
    assert torch.equal(result[bias], shift)


def test_an_adapter_on_a_saved_embedding_starts_from_the_saved_one(tmp_path, base):
    a, b, saved = torch.randn(4, 40), torch.randn(8, 4), torch.randn(40, 8)
    tensors = {
        f"{PREFIX}model.embed_tokens.lora_embedding_A": a,
        f"{PREFIX}model.embed_tokens.lora_embedding_B": b,
        f"{PREFIX}model.embed_tokens.base_layer.weight": saved,
    }
    folders = {"base": base, "adapter": save_adapter(tmp_path / "adapter", tensors)}
    found = alone(folders)["model.embed_tokens.weight"]
    assert close(found, saved.double() + 2.0 * (b.double() @ a.double()).T)


def test_the_bias_of_the_factors_is_scaled_like_them(tmp_path, weights):
    start = {**weights, f"{Q}.bias": torch.ones(8)}
    shift = torch.randn(8)
    tensors = linear(Q, *factors((8, 8), 4, 1)) | {f"{PREFIX}{Q}.lora_B.bias": shift}
    adapter = save_adapter(tmp_path / "adapter", tensors, lora_bias=True)
    found = alone({"base": save(tmp_path / "base", start), "adapter": adapter})[f"{Q}.bias"]
    assert torch.allclose(found, 1 + 2 * shift)


def test_two_adapters_of_one_base_are_two_experts_and_files_stay_as_they_are(tmp_path, base):
    folders = {"base": base}
    for seed, name in enumerate(("x", "y"), start=1):
        folders[name] = save_adapter(tmp_path / name, linear(Q, *factors((8, 8), 4, seed)))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.safetensors")}
    own = {"weight": 0.5, "density": 0.5}
    for method in ("ties", "dare_ties", "linear", "della"):
        settings = own if method != "linear" else {"weight": 0.5}
        made = recipe(method, {"base+x": settings, "base+y": settings})
        result = merged(folders, made)
        assert result[f"{Q}.weight"].dtype == torch.bfloat16
        assert all(torch.equal(x, merged(folders, made)[n]) for n, x in result.items())
    assert all(path.read_bytes() == content for path, content in before.items())


def test_the_number_of_threads_changes_no_bit(tmp_path):
    name = "layers.0.q_proj"
    weight = random_weights({f"{name}.weight": (700, 501)}, 0)
    adapter = save_adapter(tmp_path / "adapter", linear(name, *factors((700, 501), 4, 1)))
    folders = {"base": save(tmp_path / "base", weight), "adapter": adapter}
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2, 3):
            torch.set_num_threads(count)
            found.append(alone(folders)[f"{name}.weight"])
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(x, found[0]) for x in found)


def test_threads_that_ask_at_the_same_time_get_memory_of_their_own(tmp_path):
    names = [f"layers.{n}.q_proj" for n in range(8)]
    start = random_weights({f"{name}.weight": (300, 200) for name in names}, 0)
    tensors = {}
    for seed, name in enumerate(names):
        tensors |= linear(name, *factors((300, 200), 4, seed))
    folders = {
        "base": save(tmp_path / "base", start),
        "adapter": save_adapter(tmp_path / "adapter", tensors),
    }
    with MergeSource(folders) as source:
        model = source.checkpoints["base+adapter"]
        infos = list(model.index.tensors.values())
        wanted = [model.tensor(info).clone() for info in infos]
        with ThreadPoolExecutor(4) as pool:
            for _ in range(20):
                found = list(pool.map(lambda info: model.tensor(info).clone(), infos))
                assert all(torch.equal(x, y) for x, y in zip(found, wanted, strict=True))


def test_a_merge_without_a_dtype_is_written_in_the_bases(tmp_path, base):
    adapter = save_adapter(tmp_path / "adapter", linear(Q, *factors((8, 8), 4, 1)))
    found = alone({"base": base, "adapter": adapter}, dtype=None)
    assert {x.dtype for x in found.values()} == {torch.bfloat16}


def test_a_folder_whose_name_has_a_plus_is_that_folder(tmp_path, base, weights):
    plus = save(tmp_path / "base+adapter", tuned(weights, 5))
    adapter = save_adapter(tmp_path / "adapter", linear(Q, *factors((8, 8), 4, 1)))
    found = alone({"base": base, "adapter": adapter, "base+adapter": plus}, dtype="bfloat16")
    wanted = tuned(weights, 5)
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


WRONG = {
    "DoRA": (linear(Q, *factors((8, 8), 4, 1)), {"use_dora": True}, "DoRA"),
    "another type": ({}, {"peft_type": "IA3"}, "IA3"),
    "a changed base": (linear(Q, *factors((8, 8), 4, 1)), {"init_lora_weights": "pissa"}, "pissa"),
    "foreign tensors": (linear("model.layers.9.q", *factors((8, 8), 4, 1)), {}, "layers.9.q"),
    "magnitudes": ({f"{PREFIX}{Q}.lora_magnitude_vector": torch.ones(8)}, {}, "magnitude"),
    "another width": (linear(Q, *factors((9, 8), 4, 1)), {}, r"\[9, 8\].*\[8, 8\]"),
    "another rank": (linear(Q, *factors((8, 8), 3, 1)), {}, "rank 4"),
    "a lone factor": (dict([*linear(Q, *factors((8, 8), 4, 1)).items()][:1]), {}, "one factor"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_merged_is_refused_by_name(tmp_path, base, case):
    tensors, config, says = WRONG[case]
    adapter = save_adapter(tmp_path / "adapter", tensors, **config)
    with pytest.raises(CheckpointError, match=says) as caught:
        alone({"base": base, "adapter": adapter})
    assert caught.value.where == str(adapter)
    assert caught.value.remedy


def test_an_adapter_of_pickles_is_refused(tmp_path, base):
    adapter = save_adapter(tmp_path / "adapter", linear(Q, *factors((8, 8), 4, 1)))
    (adapter / "adapter_model.safetensors").rename(adapter / "adapter_model.bin")
    with pytest.raises(CheckpointError, match="safetensors"):
        alone({"base": base, "adapter": adapter})


def test_nan_in_an_adapter_is_refused_by_name(tmp_path, base):
    a, b = factors((8, 8), 4, 1)
    a[1, 2] = float("nan")
    adapter = save_adapter(tmp_path / "adapter", linear(Q, a, b))
    folders = {"base": base, "adapter": adapter}
    with pytest.raises(CheckpointError, match=r"q_proj\.lora_A"):
        alone(folders)
    with (
        MergeSource(folders, tables=False) as source,
        pytest.raises(CheckpointError, match=r"q_proj\.weight") as caught,
    ):
        dict(source.merge(recipe("linear", {"base+adapter": {"weight": 1.0}})))
    assert caught.value.where == f"{base}+{adapter}"


def test_a_tied_models_second_copy_of_the_embedding_is_the_first(tmp_path, weights):
    tied = {name: x for name, x in weights.items() if name != "lm_head.weight"}
    base = save(tmp_path / "base", tied, tie_word_embeddings=True)
    saved = torch.randn(40, 8)
    names = ("model.embed_tokens.weight", "lm_head.weight")
    tensors = {f"{PREFIX}{name}": saved.clone() for name in names}
    result = alone({"base": base, "adapter": save_adapter(tmp_path / "adapter", tensors)})
    assert torch.equal(result["model.embed_tokens.weight"], saved)
    assert "lm_head.weight" not in result


def test_an_adapter_that_changes_on_disk_is_measured_again(tmp_path, base):
    """Tables in the cache are found by what the adapter's files are, not by its name."""
    made = recipe("ties", {"base+adapter": {"weight": 1.0, "density": 0.3}})
    cache = tmp_path / "tables"
    results = []
    for seed in (1, 2):
        adapter = tmp_path / "adapter"
        if adapter.exists():
            save_file(linear(Q, *factors((8, 8), 4, seed)), adapter / "adapter_model.safetensors")
        else:
            save_adapter(adapter, linear(Q, *factors((8, 8), 4, seed)))
        folders = {"base": base, "adapter": adapter}
        with MergeSource(folders, cache=StatisticsCache(cache)) as source:
            results.append(dict(source.merge(made))[f"{Q}.weight"])
        assert torch.equal(results[-1], merged(folders, made)[f"{Q}.weight"])
    assert not torch.equal(*results)


def test_an_adapters_config_is_part_of_a_models_fingerprint(tmp_path, base):
    from evomerge.merging.indexes import read_model
    from evomerge.preflight import fingerprint

    adapter = save_adapter(tmp_path / "adapter", linear(Q, *factors((8, 8), 4, 1)))
    folders = {"base": base, "adapter": adapter}
    before = fingerprint(read_model("base+adapter", folders))
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps({**config, "lora_alpha": 99}))
    assert fingerprint(read_model("base+adapter", folders)) != before


def test_memory_is_used_again_only_when_nothing_refers_to_it(tmp_path, base):
    """One model in two places of a merge is two tensors, however long each is kept."""
    adapter = save_adapter(tmp_path / "adapter", linear(Q, *factors((8, 8), 4, 1)))
    with MergeSource({"base": base, "adapter": adapter}) as source:
        model = source.checkpoints["base+adapter"]
        info = model.index.tensors[f"{Q}.weight"]
        first = model.tensor(info)
        place, wanted = first.data_ptr(), first.clone()
        row = first.view(-1)[:8]
        del first
        second = model.tensor(info).zero_()
        assert second.data_ptr() != place
        assert torch.equal(row, wanted[0])
        del row
        assert model.tensor(info).data_ptr() == place
        assert torch.equal(model.tensor(info), wanted)
