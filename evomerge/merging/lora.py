"""What a LoRA adapter does to each tensor of its model: factors, whole tensors, biases; torch-free.

`adapter` reads the files, `adapted` does the arithmetic.
"""

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NoReturn

from evomerge.errors import CheckpointError
from evomerge.headers import TensorInfo
from evomerge.layout import CheckpointIndex, kind_of

_SHOWN = 3
_PREFIX = "base_model.model."
_FACTOR = re.compile(
    r"^(?P<module>.+)\.(?:lora_(?P<embedding>embedding_)?(?P<side>[AB]))(?P<rest>(?:\.\w+)*)$"
)


@dataclass(frozen=True)
class LowRank:
    """scale · B A, or its transpose, which is added to a weight."""

    a: TensorInfo
    b: TensorInfo
    scale: float
    transposed: bool


@dataclass(frozen=True)
class Change:
    """What becomes of one tensor: `full` takes its place, then the others are added."""

    full: TensorInfo | None = None
    low_rank: LowRank | None = None
    added: TensorInfo | None = None
    scale: float = 1.0
    """Of `added`, a bias of the factors."""


def changes_of(base: CheckpointIndex, adapter: CheckpointIndex) -> dict[str, Change]:
    """What the adapter does to each tensor of the base that it changes.

    Raises CheckpointError for tensors that the base lacks, shapes that do not fit, lone factors.
    """
    return _Reader(base, adapter).changes()


class _Reader:
    def __init__(self, base: CheckpointIndex, adapter: CheckpointIndex) -> None:
        self.base = base
        self.adapter = adapter
        self.config = adapter.config
        self.lost: list[str] = []

    def changes(self) -> dict[str, Change]:
        factors: dict[str, dict[str, TensorInfo]] = {}
        found: dict[str, Change] = {}
        for key, info in sorted(self.adapter.tensors.items()):
            factor = _FACTOR.match(key)
            if factor is None:
                self._whole(key, info, found)
            else:
                bias = factor["rest"].endswith(".bias")
                side = f"{factor['side']}{'.bias' if bias else ''}"
                group = f"{factor['embedding'] or ''}|{factor['module'].removeprefix(_PREFIX)}"
                factors.setdefault(group, {})[side] = info
        for group, sides in factors.items():
            embedding, _, module = group.partition("|")
            self._factors(module, sides, bool(embedding), found)
        if self.lost:
            self._fail(
                f"changes tensors that the model lacks: {_some(self.lost)}",
                "use the base model that the adapter was trained on",
            )
        return found

    def _whole(self, key: str, info: TensorInfo, found: dict[str, Change]) -> None:
        """A tensor saved as it is: modules_to_save, biases, embeddings that were resized."""
        target = next(filter(None, map(self._locate, _spellings(key))), None)
        if target is None:
            self._lose(key)
            return
        kept = self.base.tensors[target].shape
        resized = kind_of(target) in {"embedding", "head"} and info.shape[1:] == kept[1:]
        if info.shape != kept and not resized:
            self._misfit(key, info.shape, target)
        found[target] = replace(found.get(target, Change()), full=info)

    def _lose(self, key: str) -> None:
        tied = bool(self.base.config.get("tie_word_embeddings")) and kind_of(key) == "head"
        # Adapters of tied models save the embedding twice; the head is a copy of it.
        if not (tied and any("embed" in other for other in self.adapter.tensors)):
            self.lost.append(key.removeprefix(_PREFIX))

    def _factors(
        self,
        module: str,
        sides: Mapping[str, TensorInfo],
        embedding: bool,
        found: dict[str, Change],
    ) -> None:
        if not {"A", "B"} <= sides.keys():
            self._fail(f"{module} has one factor of two", "copy the adapter again")
        a, b = sides["A"], sides["B"]
        target = self._locate(f"{module}.weight")
        if target is None:
            self.lost.append(f"{module}.weight")
            return
        scale = self._scale(module, a)
        change = found.get(target, Change())
        shape = change.full.shape if change.full else self.base.tensors[target].shape
        transposed = self._transposed(module, a, b, target, shape, embedding)
        found[target] = replace(change, low_rank=LowRank(a, b, scale, transposed))
        if "B.bias" in sides:
            self._bias(module, sides["B.bias"], scale, found)

    def _bias(self, module: str, info: TensorInfo, scale: float, found: dict[str, Change]) -> None:
        target = self._locate(f"{module}.bias")
        if target is None:
            self.lost.append(f"{module}.bias")
        elif self.base.tensors[target].shape != info.shape:
            self._misfit(info.name, info.shape, target)
        else:
            found[target] = replace(found.get(target, Change()), added=info, scale=scale)

    def _scale(self, module: str, a: TensorInfo) -> float:
        rank = int(_matched(self.config.get("rank_pattern"), module, self.config.get("r", 8)))
        alpha = float(
            _matched(self.config.get("alpha_pattern"), module, self.config.get("lora_alpha", 8))
        )
        if not a.shape or a.shape[0] != rank:
            self._fail(f"{a.name} has shape {list(a.shape)}, not rank {rank}", "copy it again")
        return alpha / (math.sqrt(rank) if self.config.get("use_rslora") else rank)

    def _transposed(
        self,
        module: str,
        a: TensorInfo,
        b: TensorInfo,
        target: str,
        shape: tuple[int, ...],
        embedding: bool,
    ) -> bool:
        """Whether the weight is stored [in, out]: embeddings, and Conv1D if the config says so."""
        whole = len(a.shape) == len(b.shape) == 2 and b.shape[1] == a.shape[0]
        product = (b.shape[0], a.shape[1]) if whole else ()
        turned = product[::-1]
        swap = embedding or bool(self.config.get("fan_in_fan_out"))
        if whole and swap and turned == shape:
            return True
        if whole and not embedding and product == shape:
            return False
        self._misfit(module, turned if swap else product, target)

    def _locate(self, name: str) -> str | None:
        """The base's tensor of that name, which may lack or carry a prefix of its wrapper class."""
        known = self.base.tensors
        if name in known:
            return name
        found = [
            other for other in known if other.endswith(f".{name}") or name.endswith(f".{other}")
        ]
        return found[0] if len(found) == 1 else None

    def _misfit(self, key: str, shape: tuple[int, ...], target: str) -> NoReturn:
        kept = list(self.base.tensors[target].shape)
        self._fail(
            f"{key.removeprefix(_PREFIX)} has shape {list(shape)}, {target} of the model {kept}",
            "use the base model that the adapter was trained on",
        )

    def _fail(self, problem: str, remedy: str) -> NoReturn:
        raise CheckpointError(problem, where=str(self.adapter.path), remedy=remedy)


def _spellings(key: str) -> Iterable[str]:
    """The names of the base's tensor that a key may mean: with and without the adapter's own name."""
    bare = key.removeprefix(_PREFIX).replace(".base_layer.", ".")
    yield re.sub(r"\.modules_to_save\.\w+\.", ".", bare)
    yield bare.replace(".modules_to_save.", ".")


def _matched(patterns: Any, module: str, default: Any) -> Any:
    """The value of the first pattern that is the module's name or the end of it, as PEFT has it."""
    for pattern, value in (patterns or {}).items():
        if re.match(rf"(.*\.)?({pattern})$", module):
            return value
    return default


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
