"""A merge to a folder: complete and loadable, or nothing at all."""

import errno
import json

import pytest
import torch
from safetensors.torch import load_file

from evomerge.errors import CheckpointError, ResourceError
from evomerge.hub import local_folder
from evomerge.layout import read_index
from evomerge.merging import writer
from evomerge.merging.checkpoint import open_checkpoint
from evomerge.merging.finite import check_finite
from evomerge.merging.mergekit_yaml import load_recipe
from evomerge.merging.offline import merge_config, merge_to_folder
from evomerge.merging.statistics import StatisticsCache
from tests.merging.checkpoints import llama, random_weights, save, tuned

CONFIG = """\
merge_method: ties
base_model: base
models:
  - {model: a, parameters: {weight: 0.6, density: 0.5}}
  - {model: b, parameters: {weight: 0.4, density: 0.5}}
dtype: float32
"""


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = random_weights(llama(), 0)
    options = {"num_hidden_layers": 2, "vocab_size": 40, "torch_dtype": "bfloat16"}
    save(tmp_path / "base", weights, **options)
    (tmp_path / "base" / "tokenizer.json").write_text("{}")
    save(tmp_path / "a", tuned(weights, 1), **options)
    save(tmp_path / "b", tuned(weights, 2), **options)
    (tmp_path / "c.yml").write_text(CONFIG)
    return tmp_path


def tensors(path):
    return {name: x for file in path.glob("*.safetensors") for name, x in load_file(file).items()}


def test_the_folder_holds_weights_config_tokenizer_and_recipe(folder):
    made = merge_config(folder / "c.yml", folder / "out")
    assert {x.dtype for x in tensors(folder / "out").values()} == {torch.float32}
    config = json.loads((folder / "out/config.json").read_text())
    assert config["torch_dtype"] == "float32"
    assert (folder / "out/tokenizer.json").is_file()
    assert load_recipe(folder / "out/mergekit_config.yml") == made
    assert not list(folder.glob(".out*"))


def test_shards_carry_the_same_tensors_as_one_file(folder):
    seen = []
    merge_config(folder / "c.yml", folder / "one")
    merge_config(folder / "c.yml", folder / "many", max_shard=1500, progress=seen.append)
    one, many = tensors(folder / "one"), tensors(folder / "many")
    assert one.keys() == many.keys()
    assert all(torch.equal(one[name], many[name]) for name in one)
    assert len(list((folder / "many").glob("model-*-of-*.safetensors"))) > 2
    assert read_index(folder / "many").num_parameters == read_index(folder / "base").num_parameters
    assert seen[-1].bytes_done == seen[-1].bytes_total
    assert seen[-1].tensors == seen[-1].tensors_total


def test_slices_change_the_number_of_layers_in_the_config(folder):
    text = "merge_method: linear\nslices:\n"
    for low, high in ((0, 2), (1, 2)):
        text += (
            f"- sources: [{{model: a, layer_range: [{low}, {high}], parameters: {{weight: 1}}}}]\n"
        )
    (folder / "c.yml").write_text(text)
    merge_config(folder / "c.yml", folder / "out")
    assert json.loads((folder / "out/config.json").read_text())["num_hidden_layers"] == 3
    assert read_index(folder / "out").num_layers == 3


def test_the_seed_of_the_command_line_goes_before_the_configurations(folder):
    (folder / "c.yml").write_text(CONFIG.replace("ties", "dare_ties") + "random_seed: 1\n")
    for seed, name in ((None, "x"), (1, "y"), (2, "z")):
        merge_config(folder / "c.yml", folder / name, random_seed=seed)
    x, y, z = (tensors(folder / name)["lm_head.weight"] for name in "xyz")
    assert torch.equal(x, y)
    assert not torch.equal(x, z)


def test_an_existing_folder_is_left_alone(folder):
    (folder / "out").mkdir()
    (folder / "out/mine").write_text("x")
    with pytest.raises(ResourceError, match="not empty"):
        merge_config(folder / "c.yml", folder / "out")
    assert [file.name for file in (folder / "out").iterdir()] == ["mine"]


def test_a_full_disk_leaves_nothing_behind(folder, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(writer, "_write_tensor", full)
    with pytest.raises(ResourceError, match="No space left"):
        merge_config(folder / "c.yml", folder / "out")
    assert not list(folder.glob("*out*"))


def test_too_little_space_is_found_before_anything_is_read(folder, monkeypatch):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr(writer.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(ResourceError, match="GB left"):
        merge_config(folder / "c.yml", folder / "out")
    assert not (folder / "out").exists()


def test_an_error_midway_leaves_nothing_behind(folder):
    (folder / "c.yml").write_text(CONFIG.replace("weight: 0.6", "weight: 1e39"))
    with pytest.raises(Exception, match="not finite"):
        merge_config(folder / "c.yml", folder / "out")
    assert not list(folder.glob("*out*"))


def test_a_model_folder_that_is_missing_is_named(folder):
    (folder / "c.yml").write_text(CONFIG.replace("model: a", "model: ./none"))
    with pytest.raises(CheckpointError, match=r"\./none"):
        merge_config(folder / "c.yml", folder / "out")


@pytest.mark.parametrize(
    ("written", "text"),
    [("'{{ messages }}'", "{{ messages }}"), ("auto", "{{ a }}"), ("chatml", "<|im_start|>")],
)
def test_a_chat_template_gets_into_the_tokenizer(folder, written, text):
    for name in "ab":
        (folder / name / "chat_template.jinja").write_text("{{ a }}\n")
    (folder / "base/tokenizer_config.json").write_text('{"chat_template": "{{ base }}"}')
    (folder / "c.yml").write_text(CONFIG + f"chat_template: {written}\n")
    merge_config(folder / "c.yml", folder / "out")
    found = (folder / "out/chat_template.jinja").read_text()
    assert text in found
    config = json.loads((folder / "out/tokenizer_config.json").read_text())
    assert config == {"chat_template": found}


def test_transformers_loads_the_merged_model(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=50, hidden_size=16, intermediate_size=24, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True,
    )  # fmt: skip
    for seed, name in enumerate(("base", "a", "b")):
        torch.manual_seed(seed)
        LlamaForCausalLM(config).save_pretrained(tmp_path / name)
    (tmp_path / "c.yml").write_text(CONFIG)
    merge_to_folder(
        load_recipe(tmp_path / "c.yml"),
        tmp_path / "out",
        models={name: tmp_path / name for name in ("base", "a", "b")},
    )
    model, info = LlamaForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    assert model.lm_head.weight.data_ptr() == model.model.embed_tokens.weight.data_ptr()


def test_check_finite_names_the_tensor_and_remembers(folder):
    check_finite(folder / "a")
    weights = tuned(random_weights(llama(), 0), 1)
    weights["model.norm.weight"][2] = float("nan")
    bad = save(folder / "bad", weights)
    cache = StatisticsCache(folder / "tables")
    for _ in range(2):
        with pytest.raises(CheckpointError, match=r"model\.norm\.weight"):
            check_finite(bad, cache)
    assert len(list((folder / "tables").rglob("*.npy"))) == 1


def test_large_finite_weights_are_not_taken_for_infinity(folder):
    weights = {name: torch.full_like(x, 3e38) for name, x in random_weights(llama(), 0).items()}
    check_finite(save(folder / "large", weights))


def test_a_view_never_writes_to_the_file(folder):
    checkpoint = open_checkpoint(folder / "a")
    name, view = next(checkpoint.tensors())
    before = load_file(folder / "a/model.safetensors")[name].clone()
    view.zero_()
    assert torch.equal(load_file(folder / "a/model.safetensors")[name], before)


def test_models_are_found_beside_the_configuration(folder, monkeypatch):
    monkeypatch.chdir("/")
    assert local_folder("base", folder) == folder / "base"
