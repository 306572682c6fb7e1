"""What is in a checkpoint, read from its config and safetensors headers alone: no weight, no torch.

Everything is driven by tensor names. The layer of a tensor is the number after the first
`layers.`-like component; its kind is the first entry of `KIND_FILTERS` whose substring the name
contains, so that kinds can be written as filters of mergekit's YAML and mean the same there.
"""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from evomerge.errors import CheckpointError
from evomerge.headers import FLOAT_DTYPES, TensorInfo, broken_file, load_json, read_header

KIND_FILTERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("norm", ("norm", "ln_")),
    ("head", ("lm_head", "embed_out")),
    ("embedding", ("embed", "wte", "wpe")),
    ("attention", ("attn", "attention", "Attention")),
    ("mlp", ("",)),
)
"""Tensor kinds in order of precedence, each with the substrings that make a name belong to it."""

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "tokenizer.model",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "vocab.txt",
    "merges.txt",
    "spiece.model",
    "chat_template.jinja",
)
"""What a tokenizer consists of, beside a checkpoint's weights."""
SIDE_FILES = ("config.json", "generation_config.json", "adapter_config.json", *TOKENIZER_FILES)
"""Everything beside the weights that can change an answer."""
KINDS = tuple(kind for kind, _ in KIND_FILTERS)
_LAYER = re.compile(r"(?:^|\.)(?:layers|layer|h|blocks|block)\.(\d+)\.")
_INDEX = "model.safetensors.index.json"
_EMBEDDINGS = (
    *("embed_tokens.weight", "wte.weight", "embed_in.weight"),
    *("word_embeddings.weight", "tok_embeddings.weight"),
)
_POSITIONS = ("wpe", "position")


def kind_of(name: str) -> str:
    """The kind of a tensor, from its name."""
    return next(kind for kind, marks in KIND_FILTERS if any(mark in name for mark in marks))


def layer_of(name: str) -> int | None:
    """The layer a tensor belongs to, or None for embeddings, final norm and head."""
    found = _LAYER.search(name)
    return int(found.group(1)) if found else None


@dataclass(frozen=True)
class CheckpointIndex:
    """A checkpoint folder: its config and every tensor's header.

    parts: the folders that it is made of, where it is more than one (a base and its adapter).
    tokenizer: where its tokenizer lies, where that is another folder.
    """

    path: Path
    config: dict[str, Any]
    tensors: dict[str, TensorInfo]
    parts: tuple["CheckpointIndex", ...] = ()
    tokenizer: Path | None = None

    @property
    def name(self) -> str:
        """What errors call it."""
        return "+".join(part.name for part in self.parts) or str(self.path)

    @property
    def stored(self) -> tuple["CheckpointIndex", ...]:
        """The indexes whose tensors lie in files as they are."""
        return tuple(index for part in self.parts for index in part.stored) or (self,)

    @property
    def tokenizer_folder(self) -> Path:
        return self.tokenizer or self.path

    @cached_property
    def num_layers(self) -> int:
        """Number of transformer layers, from the tensor names."""
        layers = [layer for name in self.tensors if (layer := layer_of(name)) is not None]
        return max(layers) + 1 if layers else 0

    @property
    def num_bytes(self) -> int:
        return sum(info.end - info.start for info in self.tensors.values())

    @property
    def num_parameters(self) -> int:
        return sum(info.numel for info in self.tensors.values())

    @property
    def dtype(self) -> str:
        """The dtype that most bytes are stored in, as torch spells it."""
        sizes: dict[str, int] = {}
        for info in self.tensors.values():
            sizes[info.dtype] = sizes.get(info.dtype, 0) + info.end - info.start
        most = max(sizes, key=lambda dtype: sizes[dtype])
        return {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}.get(
            most, most
        )

    @property
    def embedding(self) -> TensorInfo | None:
        """The token embedding, where there is exactly one candidate."""
        found = [info for name, info in self.tensors.items() if name.endswith(_EMBEDDINGS)]
        return found[0] if len(found) == 1 else None

    @property
    def vocabulary_rows(self) -> int | None:
        """How many tokens the embedding has rows for; more than the tokenizer has, where padded."""
        return self.embedding.shape[0] if self.embedding else self.config.get("vocab_size")

    @property
    def vocabulary_tensors(self) -> tuple[str, ...]:
        """The tensors with a row for each token: embedding and head, with their biases."""
        rows = self.vocabulary_rows
        return tuple(
            name
            for name in self.outer_tensors
            if kind_of(name) in {"embedding", "head"}
            and self.tensors[name].shape[:1] == (rows,)
            and not any(mark in name for mark in _POSITIONS)
        )

    @property
    def outer_tensors(self) -> tuple[str, ...]:
        """Tensors outside the layers (embedding, final norm, head), sorted."""
        return tuple(sorted(name for name in self.tensors if layer_of(name) is None))

    @property
    def kinds(self) -> tuple[str, ...]:
        """The kinds that occur inside the layers, in the order of `KIND_FILTERS`."""
        present = {kind_of(name) for name in self.tensors if layer_of(name) is not None}
        return tuple(kind for kind in KINDS if kind in present)


def read_index(path: Path) -> CheckpointIndex:
    """Read config and headers of the checkpoint at `path`.

    Raises CheckpointError where the folder, its config or its safetensors files are missing,
    truncated or in another format.
    """
    if not path.is_dir():
        raise CheckpointError(
            "no such model folder",
            where=str(path),
            remedy="check the path in base_model and models",
        )
    home = _weight_map(path)
    tensors: dict[str, TensorInfo] = {}
    for file in weight_files(path):
        for info in read_header(file):
            if home.get(info.name, file.name) == file.name:
                tensors[info.name] = info
    lost = [name for name in home if name not in tensors]
    if lost:
        raise broken_file(path / home[lost[0]], f"lacks {lost[0]}, which {_INDEX} says it holds")
    return CheckpointIndex(path, _read_config(path), tensors)


def weight_files(path: Path) -> tuple[Path, ...]:
    """The safetensors files of a checkpoint, following its index where there is one.

    `model.safetensors` alone where it stands without an index, as transformers has it: folders from
    the hub also hold copies in other layouts (`consolidated.safetensors`).
    """
    whole = path / "model.safetensors"
    if names := set(_weight_map(path).values()):
        files = tuple(path / name for name in sorted(names))
    else:
        files = (whole,) if whole.is_file() else tuple(sorted(path.glob("*.safetensors")))
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise CheckpointError(
            f"the index names files that are missing: {', '.join(missing)}",
            where=str(path / _INDEX),
            remedy="download the model again",
        )
    if not files:
        raise _no_safetensors(path)
    return files


def _weight_map(path: Path) -> dict[str, str]:
    """Which file the index says that each tensor is in; empty where there is no index."""
    file = path / _INDEX
    if not file.is_file():
        return {}
    found = load_json(file).get("weight_map")
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found.values()):
        raise CheckpointError(
            "has no weight_map of tensors to files",
            where=str(file),
            remedy="download the model again",
        )
    return found


def _no_safetensors(path: Path) -> CheckpointError:
    pickles = sorted(file.name for mask in ("*.bin", "*.pt", "*.pth") for file in path.glob(mask))
    if pickles:
        return CheckpointError(
            f"only pickle weights ({pickles[0]}); pickles can run code and are never loaded",
            where=str(path),
            remedy="convert the model to safetensors (save_pretrained writes it) and use that folder",
        )
    return CheckpointError(
        "no *.safetensors file",
        where=str(path),
        remedy="point to the folder that holds the weights",
    )


def _read_config(path: Path) -> dict[str, Any]:
    file = path / "config.json"
    if not file.is_file():
        raise CheckpointError(
            "no config.json", where=str(path), remedy="point to a Hugging Face model folder"
        )
    return load_json(file)


__all__ = [
    "FLOAT_DTYPES",
    "KINDS",
    "KIND_FILTERS",
    "SIDE_FILES",
    "TOKENIZER_FILES",
    "CheckpointIndex",
    "TensorInfo",
    "kind_of",
    "layer_of",
    "read_index",
    "weight_files",
]
