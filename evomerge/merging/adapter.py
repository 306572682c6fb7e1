"""LoRA adapters in PEFT's format, read from config and header alone; torch-free.

What is not understood is refused by name: an adapter that is applied in part gives a model that
nobody trained.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from evomerge.errors import CheckpointError
from evomerge.headers import load_json, read_header
from evomerge.layout import CheckpointIndex
from evomerge.merging.lora import changes_of

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
_CHANGED_BASE = ("pissa", "olora", "corda", "loftq")
"""Ways to start training that change the base as well: their factors do not fit the original."""
_UNUSABLE = {
    "use_dora": "a DoRA adapter",
    "layer_replication": "an adapter that repeats layers",
    "alora_invocation_tokens": "an adapter that is switched on by tokens",
    "megatron_config": "an adapter of Megatron layers",
}


def read_adapter(path: Path) -> CheckpointIndex:
    """Config and header of an adapter. Raises CheckpointError for one that cannot be merged."""
    if not (path / CONFIG).is_file():
        _refuse(path, f"no {CONFIG}", "name a PEFT adapter's folder after the +")
    if not (path / WEIGHTS).is_file():
        _refuse(path, f"no {WEIGHTS}", "save the adapter as safetensors; pickles are never loaded")
    config = load_json(path / CONFIG)
    _check_type(path, config)
    tensors = {info.name: info for info in read_header(path / WEIGHTS)}
    return CheckpointIndex(path, config, tensors)


def _check_type(path: Path, config: Mapping[str, Any]) -> None:
    kind = config.get("peft_type", "LORA")
    if kind != "LORA":
        _refuse(path, f"a {kind} adapter; only LoRA is merged", "fold it into a checkpoint first")
    for key, what in _UNUSABLE.items():
        if config.get(key):
            _refuse(path, f"{what} ({key})", "fold it into a checkpoint first")
    start = str(config.get("init_lora_weights", True)).lower()
    if start.startswith(_CHANGED_BASE):
        remedy = "save it with path_initial_model_for_weight_conversion, which makes it plain LoRA"
        _refuse(path, f"its factors belong to a base that {start} changed", remedy)


def adapted_index(base: CheckpointIndex, adapter: CheckpointIndex) -> CheckpointIndex:
    """The base as the adapter leaves it.

    Dtypes are the base's: what a merge is written in where the recipe names none. The adapter's
    tokenizer goes before the base's where it brings one.
    """
    tensors = dict(base.tensors)
    for name, change in changes_of(base, adapter).items():
        if change.full is not None:
            tensors[name] = replace(tensors[name], shape=change.full.shape)
    own = adapter.path if (adapter.path / "tokenizer.json").is_file() else base.tokenizer
    return CheckpointIndex(base.path, base.config, tensors, (base, adapter), own)


def _refuse(path: Path, problem: str, remedy: str) -> NoReturn:
    raise CheckpointError(problem, where=str(path), remedy=remedy)
