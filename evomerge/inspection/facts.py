"""What models are, from configs, safetensors headers and tokenizers alone; torch-free."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from evomerge.inspection.types import AdapterFacts, ModelFacts
from evomerge.layout import CheckpointIndex
from evomerge.merging.lora import changes_of
from evomerge.preflight.models import compare
from evomerge.vocabulary import Vocabulary, how_they_differ, vocabulary_of

_EXPERTS = ("num_local_experts", "num_experts", "n_routed_experts", "moe_num_experts")
_TORCH = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}


def facts_of(names: Sequence[str], indexes: Sequence[CheckpointIndex]) -> tuple[ModelFacts, ...]:
    """The facts of every model; tokenizers, names and shapes are compared with the first one's."""
    first = indexes[0]
    home = vocabulary_of(names[0], first)
    return tuple(
        _facts(
            name,
            index,
            _tokenizer(name, index, home),
            () if index is first else _misfits(first, index),
        )
        for name, index in zip(names, indexes, strict=True)
    )


def config_value(config: Mapping[str, Any], names: Iterable[str]) -> Any:
    """The first of `names` that the config, or its part for text, has; None without one."""
    inner = config.get("text_config")
    parts = [config, *([inner] if isinstance(inner, dict) else [])]
    found = [part[name] for part in parts for name in names if part.get(name) is not None]
    return found[0] if found else None


def _facts(
    name: str, index: CheckpointIndex, tokenizer: str, misfits: tuple[str, ...]
) -> ModelFacts:
    return ModelFacts(
        name=name,
        architecture=_architecture(index.config),
        parameters=index.num_parameters,
        bytes=sum(part.num_bytes for part in index.stored),
        dtypes=_dtypes(index),
        layers=index.num_layers,
        hidden_size=config_value(index.config, ("hidden_size", "n_embd", "d_model")),
        vocabulary=index.vocabulary_rows,
        tied_embeddings=bool(config_value(index.config, ("tie_word_embeddings",))),
        experts=config_value(index.config, _EXPERTS),
        adapter=_adapter(index),
        tokenizer=tokenizer,
        misfits=misfits,
    )


def _architecture(config: Mapping[str, Any]) -> str:
    named = config.get("architectures")
    return str(named[0]) if named else str(config.get("model_type", "unknown"))


def _dtypes(index: CheckpointIndex) -> dict[str, int]:
    found: dict[str, int] = {}
    for info in index.tensors.values():
        name = _TORCH.get(info.dtype, info.dtype)
        found[name] = found.get(name, 0) + info.numel
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _adapter(index: CheckpointIndex) -> AdapterFacts | None:
    if not index.parts:
        return None
    base, adapter = index.parts
    rank = adapter.config.get("r")
    return AdapterFacts(
        rank if isinstance(rank, int) else None,
        adapter.num_parameters,
        len(changes_of(base, adapter)),
    )


def _tokenizer(name: str, index: CheckpointIndex, home: Vocabulary | None) -> str:
    own = vocabulary_of(name, index)
    if own is None or own.tokens is None:
        return "none"
    if home is None or home.tokens is None:
        return f"{len(own.tokens)} tokens; the first model has none to compare with"
    if own.name == home.name:
        return f"{len(own.tokens)} tokens"
    if own.same_as(home):
        return "same"
    return how_they_differ(home, own).replace("the base model", "the first")


def _misfits(first: CheckpointIndex, index: CheckpointIndex) -> tuple[str, ...]:
    return tuple(problem.message for problem in compare(first, index))
