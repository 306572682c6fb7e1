"""Where checkpoint tensors lie in transformers' model: its parameters, and parts of them.

transformers holds the experts of a mixture in two parameters of three dimensions, whose parts stand for the
tensors that checkpoints have; and it names Mixtral's mixtures `mlp`.
"""

import re
from collections.abc import Iterator

import torch
from torch import Tensor

_FUSED = re.compile(r"^(?P<home>.+)\.experts\.(?P<kind>gate_up_proj|down_proj)$")
_PARTS = {
    "gate_up_proj": (("gate_proj", "w1"), ("up_proj", "w3")),
    "down_proj": (("down_proj", "w2"),),
}
_OTHER_HOME = ".block_sparse_moe"


def named_tensors(model: torch.nn.Module) -> dict[str, Tensor]:
    """Parameters and buffers by checkpoint name, views of one storage; a tied head is the embedding."""
    named = {name: parameter.data for name, parameter in model.named_parameters()}
    named |= {name: buffer for name, buffer in model.named_buffers() if name not in named}
    return named | dict(_experts(named)) | dict(_routers(named))


def _experts(named: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Each expert's matrices as Qwen-MoE and as Mixtral name them: `gate_up_proj` is one on the other."""
    for name, tensor in named.items():
        hit = _FUSED.match(name)
        if hit is None or tensor.dim() != 3:
            continue
        for number, expert in enumerate(tensor):
            pieces = expert.chunk(len(_PARTS[hit["kind"]]))
            for (plain, short), piece in zip(_PARTS[hit["kind"]], pieces, strict=True):
                yield f"{hit['home']}.experts.{number}.{plain}.weight", piece
                yield f"{_mixtral(hit['home'])}.experts.{number}.{short}.weight", piece


def _routers(named: dict[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """Routers as Mixtral names them."""
    homes = {hit["home"] for name in named if (hit := _FUSED.match(name))}
    for home in homes:
        if f"{home}.gate.weight" in named:
            yield f"{_mixtral(home)}.gate.weight", named[f"{home}.gate.weight"]


def _mixtral(home: str) -> str:
    return home.removesuffix(".mlp") + _OTHER_HOME
