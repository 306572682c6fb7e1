"""How large a model is, from config.json, and from its files' headers where they are there."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evomerge.errors import CheckpointError
from evomerge.headers import load_json
from evomerge.hub import parts_of
from evomerge.inspection.facts import config_value
from evomerge.layout import read_index

ITEM_SIZES = {"float64": 8, "float32": 4, "float16": 2, "bfloat16": 2}
_NEEDED = {
    "hidden size": ("hidden_size", "n_embd", "d_model"),
    "number of layers": ("num_hidden_layers", "n_layer", "num_layers"),
    "number of heads": ("num_attention_heads", "n_head"),
    "vocabulary size": ("vocab_size",),
}
_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts")
_ACTIVE = ("num_experts_per_tok", "num_experts_per_token", "moe_top_k")
_DTYPE = ("dtype", "torch_dtype")
Matrix = tuple[int, int]


@dataclass(frozen=True)
class ModelShape:
    """Sizes that costs follow from.

    stored: bytes of its files. matrices: [in, out] of the products that a token passes in one layer.
    width: of attention's heads together. kv_width: entries of keys and values of a token in one layer.
    active: parameters that a token passes, without embedding and head.
    """

    name: str
    parameters: int
    stored: int
    dtype: str
    layers: int
    hidden: int
    vocabulary: int
    matrices: tuple[Matrix, ...]
    width: int
    kv_width: int
    longest: int | None
    from_headers: bool

    @property
    def active(self) -> int:
        return self.layers * sum(a * b for a, b in self.matrices)


def read_shape(name: str) -> ModelShape:
    """The shape of a model, an adapter left aside. Raises CheckpointError where no config is to be had."""
    folder = _folder(parts_of(name)[0])
    config = load_json(folder / "config.json")
    shape = shape_of_config(name, config)
    if not any(folder.glob("*.safetensors")):
        return shape
    index = read_index(folder)
    return ModelShape(
        **{
            **vars(shape),
            "parameters": index.num_parameters,
            "stored": index.num_bytes,
            "dtype": index.dtype,
            "from_headers": True,
        }
    )


def adapter_bytes(name: str) -> int:
    """Bytes of the adapter of `model+adapter`; 0 without one."""
    return sum(
        file.stat().st_size
        for part in parts_of(name)[1:]
        for file in _folder(part).glob("*.safetensors")
    )


def shape_of_config(name: str, config: Mapping[str, Any]) -> ModelShape:
    """The shape of a decoder with gated MLPs, or experts, as a config describes it.

    Biases and norms are left out: less than a thousandth. Raises CheckpointError for other configs.
    """
    found = {what: config_value(config, keys) for what, keys in _NEEDED.items()}
    missing = [what for what, value in found.items() if not isinstance(value, int)]
    if missing:
        raise CheckpointError(
            f"its config.json gives no {missing[0]}",
            where=name,
            remedy="plan for a decoder-only language model; others cannot be predicted",
        )
    hidden, layers, heads, vocabulary = found.values()
    head = config_value(config, ("head_dim",)) or hidden // heads
    kv_heads = config_value(config, ("num_key_value_heads",)) or heads
    attention = [(hidden, heads * head), *[(hidden, kv_heads * head)] * 2, (heads * head, hidden)]
    mlp, in_all = _mlp(config, hidden)
    stored_in_layer = sum(a * b for a, b in attention) + in_all
    tied = bool(config_value(config, ("tie_word_embeddings",)))
    parameters = layers * stored_in_layer + (1 if tied else 2) * vocabulary * hidden
    dtype = str(config_value(config, _DTYPE) or "float32").removeprefix("torch.")
    return ModelShape(
        name=name,
        parameters=parameters,
        stored=parameters * ITEM_SIZES.get(dtype, 2),
        dtype=dtype,
        layers=layers,
        hidden=hidden,
        vocabulary=vocabulary,
        matrices=(*attention, *mlp),
        width=heads * head,
        kv_width=2 * kv_heads * head,
        longest=config_value(config, ("max_position_embeddings", "n_positions")),
        from_headers=False,
    )


def _mlp(config: Mapping[str, Any], hidden: int) -> tuple[list[Matrix], int]:
    """The products of a token in an MLP, and the parameters of all experts."""
    experts = config_value(config, _EXPERTS)
    inner = config_value(config, ("intermediate_size", "n_inner", "ffn_dim")) or 4 * hidden
    if not experts:
        return [(hidden, inner), (hidden, inner), (inner, hidden)], 3 * hidden * inner
    own = config_value(config, ("moe_intermediate_size",)) or inner
    active = int(config_value(config, _ACTIVE) or 2)
    one = [(hidden, own), (hidden, own), (own, hidden)]
    return one * active, int(experts) * 3 * hidden * own + hidden * int(experts)


def _folder(part: str) -> Path:
    """Where a config lies: a folder, or what the hub's cache already has; nothing is downloaded."""
    path = Path(part).expanduser()
    if (path / "config.json").is_file() or (path / "adapter_config.json").is_file():
        return path
    if path.is_dir():
        raise CheckpointError("no config.json", where=part, remedy="name a model's folder")
    try:
        from huggingface_hub import hf_hub_download

        name, _, revision = part.partition("@")
        found = hf_hub_download(
            name, "config.json", revision=revision or None, local_files_only=True
        )
    except Exception as error:  # the hub's library raises its own and HTTP's errors: not to be had
        raise CheckpointError(
            "its config.json is not on this machine",
            where=part,
            remedy="put it into a folder, and name that; the weights are not needed",
        ) from error
    return Path(found).parent


__all__ = ["ITEM_SIZES", "ModelShape", "adapter_bytes", "read_shape", "shape_of_config"]
