"""M-SMoE and MC-SMoE on small mixtures: identities, grouping, and models that transformers loads."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from evomerge.alignment.compression import GatedExpert, compress, factor, narrowed
from evomerge.alignment.experts import group_experts, groups_by_layer, shares_of
from evomerge.errors import CheckpointError
from evomerge.evaluation.calibrated import calibrate
from evomerge.evaluation.calibration_works import works_of_file
from evomerge.layout import read_index
from evomerge.merging.grouped import load_grouped
from evomerge.merging.merge import merge_tensors
from evomerge.merging.mergekit_yaml import load_recipe
from evomerge.merging.offline import merge_config
from evomerge.space import SearchSpace
from evomerge.spec import load_preset
from evomerge.zoo.tokenizer import VOCABULARY, make_tokenizer
from tests.alignment.networks import answers, load, make
from tests.calibration.statistics import write_statistic

MIXTURES = ["mixtral", "qwen_moe"]


@pytest.fixture(autouse=True)
def caches(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def mixture(family, folder, seed=0):
    """A random mixture with a tokenizer, and texts; statistics of the same one are measured once."""
    make(family, folder, seed, vocab_size=len(VOCABULARY))
    make_tokenizer(64).save_pretrained(str(folder))
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefgh"), 12)) for _ in range(30)]
    (folder.parent / "texts.txt").write_text("\n".join(words))
    return folder


def routed(layers=2):
    """Routing in which experts 0 and 1 are used most, and 2 and 3 get the same logits as they."""
    alike = torch.eye(2).repeat(2, 2)
    found = {}
    for layer in range(layers):
        for home in ("mlp", "block_sparse_moe"):
            router = f"model.layers.{layer}.{home}.gate.weight"
            found[router + ":usage"] = torch.tensor([0.4, 0.3, 0.2, 0.1])
            found[router + ":products"] = alike.clone()
    return found


def merged(tmp_path, family, name, routing=None, **parameters):
    """The merge of `model` with these parameters, measured first; its folder."""
    text = json.dumps(parameters)
    file = tmp_path / f"{name}.yml"
    file.write_text(
        "merge_method: m_smoe\nmodels: [{model: model}]\ndtype: float32\n"
        f"calibration: texts.txt\nparameters: {text}\n"
    )
    for work in works_of_file(file, ()):
        for request in work.requests():
            if routing is not None and request.statistic == "routing":
                write_statistic(request, routing)
        calibrate(work, device="cpu")
    merge_config(file, tmp_path / name)
    return tmp_path / name


@pytest.mark.parametrize("family", MIXTURES)
@pytest.mark.parametrize("router", ["keep", "reduce"])
def test_as_many_groups_as_experts_change_nothing(family, router, tmp_path):
    mixture(family, tmp_path / "model")
    out = merged(tmp_path, family, "out", keep=1.0, router=router)
    before, after = (load_file(x / "model.safetensors") for x in (tmp_path / "model", out))
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("family", MIXTURES)
def test_half_the_experts_load_in_transformers_with_half_the_router(family, tmp_path):
    mixture(family, tmp_path / "model")
    out = merged(tmp_path, family, "out", keep=0.5, router="reduce", allocation="layer")
    config = json.loads((out / "config.json").read_text())
    assert config.get("num_local_experts", config.get("num_experts")) == 2
    model = load(family, out)
    assert answers(model).isfinite().all()
    router = next(
        x for name, x in load_file(out / "model.safetensors").items() if ".gate.w" in name
    )
    assert router.shape[0] == 2


@pytest.mark.parametrize("family", MIXTURES)
def test_copies_of_two_experts_in_other_orders_merge_to_the_same_function(family, tmp_path):
    """Experts 2 and 3 are 0 and 1 with hidden units shuffled."""
    folder = mixture(family, tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    rng = torch.Generator().manual_seed(0)
    down = ("w2", "down_proj")
    for home in {name.split(".experts.")[0] for name in tensors if ".experts." in name}:
        parts = {n.split(".")[-2] for n in tensors if n.startswith(f"{home}.experts.0.")}
        for copy, origin in ((2, 0), (3, 1)):
            first = f"{home}.experts.{origin}."
            width = tensors[f"{first}{next(iter(parts - set(down)))}.weight"].shape[0]
            order = torch.randperm(width, generator=rng)
            for part in parts:
                source = tensors[f"{first}{part}.weight"]
                moved = source[:, order] if part in down else source[order]
                tensors[f"{home}.experts.{copy}.{part}.weight"] = moved.contiguous()
        router = tensors[f"{home}.gate.weight"]
        router[2:] = 0.9 * router[:2]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    expected = answers(load(family, folder))
    for similarity in ("router_logits", "expert_outputs", "weights"):
        settings = {"keep": 0.5, "allocation": "layer", "similarity": similarity}
        out = merged(tmp_path, family, similarity, routed(), **settings)
        assert torch.allclose(answers(load(family, out)), expected, atol=1e-3), similarity
        names = [n for n in load_file(out / "model.safetensors") if ".experts.2." in n]
        assert names  # the routing keeps its four places


def test_full_rank_changes_nothing_and_all_rows_give_back_what_a_low_rank_lacks():
    weight = torch.randn(12, 9, generator=torch.Generator().manual_seed(1))
    assert compress(weight, 1.0, 0.0) is weight
    assert torch.allclose(compress(weight, 0.2, 1.0), weight, atol=1e-5)
    assert factor(weight, 2.0, 0.0).left.shape[1] == 9  # all singular values
    assert torch.allclose(factor(weight, 2.0, 0.0).dense().float(), weight, atol=1e-6)
    low = compress(weight, 0.4, 0.0)
    u, s, v = np.linalg.svd(weight.double().numpy(), full_matrices=False)
    count = int(np.ceil(0.4 * 12 * 9 / 21))
    assert np.allclose(low.numpy(), (u[:, :count] * s[:count]) @ v[:count], atol=1e-5)
    some = compress(weight, 0.4, 0.25)
    kept = np.argsort(-np.abs((weight - low).numpy()).mean(1))[:3]
    assert np.allclose(some.numpy()[kept], weight.numpy()[kept], atol=1e-5)
    rest = np.setdiff1d(np.arange(12), kept)
    assert np.allclose(some.numpy()[rest], low.numpy()[rest], atol=1e-6)


def size_of(folder):
    """Bytes of all tensors; the header of so small a model would be the most of its file."""
    return sum(x.nbytes for x in load_file(folder / "model.safetensors").values())


@pytest.mark.parametrize("family", MIXTURES)
def test_the_grouped_form_of_all_experts_computes_what_the_model_does(family, tmp_path):
    folder = mixture(family, tmp_path / "model")
    out = merged(tmp_path, family, "out", keep=1.0, form="grouped")
    assert torch.allclose(answers(load_grouped(out)), answers(load(family, folder)), atol=1e-5)


@pytest.mark.parametrize("family", MIXTURES)
def test_the_grouped_form_computes_what_the_stock_form_does_and_is_smaller(family, tmp_path):
    """In the file and in memory: groups once, matrices in factors."""
    folder = mixture(family, tmp_path / "model")
    settings = {"keep": 0.5, "rank": 0.3, "rows": 0.1}
    stock = merged(tmp_path, family, "stock", **settings)
    grouped = merged(tmp_path, family, "grouped", form="grouped", **settings)
    model = load_grouped(grouped)
    assert torch.allclose(answers(model), answers(load(family, stock)), atol=1e-4)
    assert size_of(stock) == size_of(folder)
    held = [
        sum(x.nbytes for name, x in one.named_parameters() if ".experts." in name)
        for one in (model, load(family, folder))
    ]
    assert held[0] < 0.35 * held[1]  # half the groups, and of each ρ + .1, rounded up
    assert size_of(folder) - size_of(grouped) == held[1] - held[0]


def test_layers_with_different_numbers_of_groups_have_a_grouped_form(tmp_path):
    mixture("mixtral", tmp_path / "model", seed=1)
    routing = routed()
    routing["model.layers.1.block_sparse_moe.gate.weight:usage"] = torch.full((4,), 0.25)
    routing["model.layers.1.mlp.gate.weight:usage"] = torch.full((4,), 0.25)
    out = merged(tmp_path, "mixtral", "out", routing, keep=0.5, form="grouped")
    groups = json.loads((out / "config.json").read_text())["evomerge"]["groups"]
    assert len({len(set(own)) for own in groups.values()}) == 2
    stock = merged(tmp_path, "mixtral", "stock", routing, keep=0.5)
    assert torch.allclose(answers(load_grouped(out)), answers(load("mixtral", stock)), atol=1e-5)


def test_other_programs_refuse_the_grouped_form_instead_of_making_weights_up(tmp_path):
    from transformers import AutoModelForCausalLM

    mixture("mixtral", tmp_path / "model")
    out = merged(tmp_path, "mixtral", "out", keep=0.5, form="grouped")
    with pytest.raises(ValueError, match="evomerge_grouped_experts"):
        AutoModelForCausalLM.from_pretrained(out)
    with pytest.raises(CheckpointError, match="not a mixture with grouped experts"):
        load_grouped(tmp_path / "model")
    with pytest.raises(CheckpointError, match="router: keep"):
        merged(tmp_path, "mixtral", "two", form="grouped", router="reduce", allocation="layer")


@pytest.mark.parametrize("family", MIXTURES)
def test_hidden_units_that_give_nothing_are_left_out_without_a_trace(family, tmp_path):
    folder = mixture(family, tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if ".experts." in name and name.split(".")[-2] in {"w2", "down_proj"}:
            tensor[:, ::2] = 0.0
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    out = merged(tmp_path, family, "out", keep=1.0, hidden=0.5)
    config = json.loads((out / "config.json").read_text())
    model = load(family, out)
    width = 12 if family == "mixtral" else 8  # whole multiples of 4
    assert config.get("moe_intermediate_size", config["intermediate_size"]) == width
    assert torch.allclose(answers(model), answers(load(family, folder)), atol=1e-3)
    assert size_of(out) < size_of(folder)


def test_a_narrower_expert_is_the_least_squares_fit_of_its_largest_units():
    generator = torch.Generator().manual_seed(3)
    gate, up = (torch.randn(8, 5, generator=generator) for _ in range(2))
    down, x = torch.randn(5, 8, generator=generator), torch.randn(60, 5, generator=generator)
    found = narrowed(GatedExpert(gate, up, down), 3, x, torch.nn.functional.silu, 1e-12)
    z = x.double().numpy() @ gate.double().numpy().T
    hidden = z / (1 + np.exp(-z)) * (x.double().numpy() @ up.double().numpy().T)
    gains = (hidden**2).mean(0) * (down.double().numpy() ** 2).sum(0)
    kept = np.sort(np.argsort(-gains)[:3])
    wanted = hidden @ down.double().numpy().T
    expected = np.linalg.lstsq(hidden[:, kept], wanted, rcond=None)[0].T
    assert torch.equal(found.gate, gate[kept])
    assert torch.equal(found.up, up[kept])
    assert np.allclose(found.down.numpy(), expected, atol=1e-4)


def test_layers_share_groups_out_by_usage():
    usage = [np.array([0.7, 0.1, 0.1, 0.1]), np.array([0.3, 0.25, 0.25, 0.2])]
    assert groups_by_layer(usage, [0.5, 0.5], together=False) == [2, 2]
    assert groups_by_layer(usage, [0.5, 0.5], together=True) == [1, 3]
    assert groups_by_layer(usage, [1.0, 1.0], together=True) == [4, 4]
    assert groups_by_layer(usage, [0.1, 0.1], together=True) == [1, 1]


def test_the_most_used_lead_and_the_others_join_the_most_similar():
    similar = np.array(
        [[1, 0.2, 0.9, 0.1], [0.2, 1, 0.3, 0.8], [0.9, 0.3, 1, 0.5], [0.1, 0.8, 0.5, 1]]
    )
    leaders = group_experts(np.array([0.4, 0.3, 0.2, 0.1]), similar, 2)
    assert leaders.tolist() == [0, 1, 0, 1]


def test_recipes_of_the_preset_are_merged(tmp_path):
    model = mixture("mixtral", tmp_path / "model")
    merged(tmp_path, "mixtral", "out", similarity="expert_outputs")  # which measures everything
    texts = load_recipe(tmp_path / "out" / "mergekit_config.yml").calibration.data
    space = SearchSpace(
        load_preset("m_smoe_per_layer"), "base", ("model",), read_index(model), texts=texts
    )
    for genome in (np.zeros(space.dimension), np.full(space.dimension, 0.5)):
        found = dict(merge_tensors(space.decode(genome), {"base": model, "model": model}))
        assert found.keys() == read_index(model).tensors.keys()


def test_a_group_that_was_never_used_is_averaged():
    assert shares_of([1, 2], np.array([1.0, 0.0, 0.0]), 1.0).tolist() == [0.5, 0.5]
    assert shares_of([0, 2], np.array([0.3, 0.6, 0.1]), 1.0) == pytest.approx([0.75, 0.25])


def test_a_reduced_router_with_different_numbers_of_groups_is_refused(tmp_path):
    from evomerge.merging.mixtures import reduced_config

    with pytest.raises(CheckpointError, match="allocation: layer"):
        reduced_config({"num_experts": 4}, [2, 3])


def test_a_model_without_experts_is_refused(tmp_path):
    mixture("mixtral", tmp_path / "other")
    make("llama", tmp_path / "model", vocab_size=len(VOCABULARY))
    make_tokenizer(64).save_pretrained(str(tmp_path / "model"))
    with pytest.raises(CheckpointError, match="no mixture of experts"):
        merged(tmp_path, "llama", "out")
