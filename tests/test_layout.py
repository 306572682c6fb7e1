"""A checkpoint's layout is read from headers alone, and every broken folder says what is broken."""

import json
import struct
from pathlib import Path

import pytest

from evomerge.errors import CheckpointError
from evomerge.layout import KINDS, kind_of, layer_of, read_index
from tests.support import LAYERS, VOCABULARY, WIDTH, write_checkpoint


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "model", seed=0)


def test_an_index_knows_layers_kinds_shapes_and_sizes(folder: Path) -> None:
    index = read_index(folder)
    assert index.num_layers == LAYERS
    assert index.kinds == ("norm", "attention", "mlp")
    assert index.outer_tensors == (
        "lm_head.weight",
        "model.embed_tokens.weight",
        "model.norm.weight",
    )
    assert index.tensors["lm_head.weight"].shape == (VOCABULARY, WIDTH)
    assert index.dtype == "float32"
    assert index.num_bytes == 4 * index.num_parameters


def test_offsets_point_at_the_bytes_that_safetensors_reads(folder: Path) -> None:
    from safetensors.numpy import load_file

    index = read_index(folder)
    expected = load_file(folder / "model.safetensors")
    for name, info in index.tensors.items():
        with info.file.open("rb") as stream:
            stream.seek(info.start)
            assert stream.read(info.end - info.start) == expected[name].tobytes()


@pytest.mark.parametrize(
    ("name", "kind", "layer"),
    [
        ("model.layers.11.self_attn.q_proj.weight", "attention", 11),
        ("model.layers.0.post_attention_layernorm.weight", "norm", 0),
        ("model.layers.3.self_attn.q_norm.weight", "norm", 3),
        ("model.layers.3.block_sparse_moe.experts.7.w1.weight", "mlp", 3),
        ("model.embed_tokens.weight", "embedding", None),
        ("model.norm.weight", "norm", None),
        ("lm_head.weight", "head", None),
        ("transformer.h.5.ln_1.bias", "norm", 5),
        ("transformer.h.5.attn.c_attn.weight", "attention", 5),
        ("h.2.mlp.c_fc.weight", "mlp", 2),
        ("transformer.wte.weight", "embedding", None),
        ("gpt_neox.layers.1.attention.dense.weight", "attention", 1),
        ("embed_out.weight", "head", None),
        ("encoder.block.4.layer.0.SelfAttention.q.weight", "attention", 4),
    ],
)
def test_kind_and_layer_follow_from_the_name(name: str, kind: str, layer: int | None) -> None:
    assert (kind_of(name), layer_of(name)) == (kind, layer)
    assert kind in KINDS


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such model folder") as caught:
        read_index(tmp_path / "nowhere")
    assert "nowhere" in str(caught.value)


def test_a_truncated_file_is_found_before_a_weight_is_read(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(CheckpointError, match=r"model\.safetensors: truncated"):
        read_index(folder)


@pytest.mark.parametrize("keep", [0, 4, 8, 50])
def test_a_file_cut_inside_its_header_is_found(folder: Path, keep: int) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(CheckpointError, match="not a readable safetensors file"):
        read_index(folder)


@pytest.mark.parametrize(
    "header",
    [
        b"[1, 2]",
        b'{"w": 3}',
        b'{"w": {"dtype": "F32"}}',
        b'{"w": {"dtype": "F32", "shape": [1], "data_offsets": [0]}}',
        b'{"w": {"dtype": "F32", "shape": ["x"], "data_offsets": [0, 4]}}',
        b'{"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}',
        b'{"w": {"dtype": "F32", "shape": [1], "data_offsets": [4, 0]}}',
        b"\xff\xfe\x00",
    ],
)
def test_a_header_that_makes_no_sense_is_an_error_of_ours(folder: Path, header: bytes) -> None:
    body = struct.pack("<Q", len(header)) + header + b"\0" * 16
    (folder / "model.safetensors").write_bytes(body)
    with pytest.raises(CheckpointError, match=r"model\.safetensors"):
        read_index(folder)


def test_a_folder_of_pickles_is_refused_with_the_way_out(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(CheckpointError, match="only pickle weights") as caught:
        read_index(folder)
    assert "safetensors" in str(caught.value.remedy)


def test_a_folder_without_weights_or_config_says_which(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointError, match=r"no config\.json"):
        read_index(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"no \*\.safetensors"):
        read_index(folder)


def test_a_shard_that_the_index_names_and_the_folder_lacks_is_named(folder: Path) -> None:
    shards = {"weight_map": {"a": "model.safetensors", "b": "model-00002.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(shards), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"model-00002\.safetensors"):
        read_index(folder)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"weight_map": 3}'])
def test_an_index_file_that_makes_no_sense_is_an_error_of_ours(folder: Path, text: str) -> None:
    (folder / "model.safetensors.index.json").write_text(text, encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"index\.json"):
        read_index(folder)


def test_a_config_that_is_no_mapping_is_an_error_of_ours(folder: Path) -> None:
    (folder / "config.json").write_text("[]", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"config\.json"):
        read_index(folder)


def test_tensors_of_several_shards_are_found_in_their_own_files(tmp_path: Path) -> None:
    whole = write_checkpoint(tmp_path / "whole", seed=1)
    head = write_checkpoint(tmp_path / "head", seed=1)
    (whole / "model.safetensors").rename(whole / "one.safetensors")
    (head / "model.safetensors").rename(whole / "two.safetensors")
    names = {"lm_head.weight": "two.safetensors", "model.norm.weight": "one.safetensors"}
    (whole / "model.safetensors.index.json").write_text(json.dumps({"weight_map": names}))
    index = read_index(whole)
    assert index.tensors["lm_head.weight"].file.name == "two.safetensors"
    assert index.tensors["model.norm.weight"].file.name == "one.safetensors"
