"""Mixtures whose experts share weights: each group stored once, in factors where it is low-rank (MC-SMoE).

Stock architectures have one full matrix for every expert, so that neither a router that is kept nor low rank
saves anything there. This form holds what the paper counts: a group's weights once, a map from experts to
groups, and U, V and the rows of S in the place of each matrix. It is safetensors and config.json under a
`model_type` of its own, which other programs refuse; `load_grouped` makes transformers' model of it, in
which the experts compute with the factors. There is no code in the files.

    HOME.experts.GROUP.PART.weight                          a whole matrix, or
    HOME.experts.GROUP.PART.left.weight, .right.weight      [H, r], [r, W]
    HOME.experts.GROUP.PART.rows.weight, .row_numbers       [k, W], [k]: added to these rows
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from evomerge.alignment.compression import Factored, factor, inner_rank, whole_rows
from evomerge.errors import CheckpointError
from evomerge.layout import read_index
from evomerge.merging.checkpoint import Checkpoint
from evomerge.merging.mixtures import EXPERT, Layer, is_down, width_key

MODEL_TYPE = "evomerge_grouped_experts"
VERSION = 1
_PIECE = re.compile(
    r"^(?P<home>.+)\.experts\.(?P<group>\d+)\.(?P<part>\w+?)"
    r"(?P<piece>\.weight|\.left\.weight|\.right\.weight|\.rows\.weight|\.row_numbers)$"
)
Shape = tuple[int, ...]
Whole = Callable[[Layer, int, str], Tensor]


@dataclass
class GroupedWriter:
    """The tensors of the form, worked out when they are asked for.

    Args:
        leaders: of each layer the expert that leads each expert's group.
        width: hidden units of an expert. rank, rows: as in `compress`; 1 for whole matrices.
    """

    layers: Sequence[Layer]
    leaders: Mapping[str, Sequence[int]]
    width: int
    rank: float
    rows: float
    _last: dict[tuple[str, int, str], Factored] = field(default_factory=dict)

    def config(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """config.json with the map of groups, and under another type."""
        groups = {home: _places(own) for home, own in self.leaders.items()}
        note = {"version": VERSION, "model_type": config.get("model_type"), "groups": groups}
        return {**config, "model_type": MODEL_TYPE, "evomerge": note}

    def tensors(self, shapes: Mapping[str, Shape]) -> tuple[dict[str, Shape], dict[str, str]]:
        """The shapes of all tensors, given those with an expert for each place; dtypes of some."""
        found, dtypes = {}, {}
        for name, shape in shapes.items():
            hit = EXPERT.match(name)
            if hit is None:
                found[name] = shape
            elif int(hit["number"]) < len(set(self.leaders[hit["home"]])):
                found |= self._pieces(name.removesuffix(".weight"), shape)
        dtypes = {name: "I32" for name in found if name.endswith(".row_numbers")}
        return found, dtypes

    def _pieces(self, stem: str, shape: Shape) -> dict[str, Shape]:
        if self.rank >= 1.0:
            return {f"{stem}.weight": shape}
        rank, count = inner_rank(shape, self.rank), whole_rows(shape[0], self.rows)
        found = {f"{stem}.left.weight": (shape[0], rank), f"{stem}.right.weight": (rank, shape[1])}
        kept = {f"{stem}.rows.weight": (count, shape[1]), f"{stem}.row_numbers": (count,)}
        return found | (kept if count else {})

    def make(self, name: str, whole: Whole, other: Callable[[str], Tensor]) -> Tensor:
        """A tensor; `whole` gives a part of a leader's group, `other` what is no expert's."""
        hit = _PIECE.match(name)
        own = {layer.home: layer for layer in self.layers}
        if hit is None or hit["home"] not in own:
            return other(name)
        layer, part = own[hit["home"]], hit["part"]
        leader = sorted(set(self.leaders[layer.home]))[int(hit["group"])]
        if hit["piece"] == ".weight":
            return whole(layer, leader, part)
        key = layer.home, leader, part
        if key not in self._last:  # its pieces are asked for in a row
            self._last = {key: factor(whole(layer, leader, part), self.rank, self.rows)}
        made = self._last[key]
        if hit["piece"] == ".row_numbers":
            return made.numbers
        pieces = {".left.weight": made.left, ".right.weight": made.right, ".rows.weight": made.rows}
        return pieces[hit["piece"]].float()


def _places(leaders: Sequence[int]) -> list[int]:
    """For each expert, the place of its group among all."""
    order = sorted(set(leaders))
    return [order.index(leader) for leader in leaders]


class FactoredLinear(nn.Module):
    """x (U V + S)ᵀ without ever making the matrix; or x Wᵀ where it is whole."""

    def __init__(self, pieces: Mapping[str, Tensor]) -> None:
        super().__init__()
        for name, tensor in pieces.items():
            self.register_parameter(name, nn.Parameter(tensor, tensor.is_floating_point()))

    def forward(self, x_TW: Tensor) -> Tensor:
        held = dict(self.named_parameters())
        if "weight" in held:
            return nn.functional.linear(x_TW, held["weight"])
        out = nn.functional.linear(nn.functional.linear(x_TW, held["right"]), held["left"])
        if "rows" in held:
            sparse = nn.functional.linear(x_TW, held["rows"])
            out = out.index_add(-1, held["row_numbers"].long(), sparse)
        return out


class GroupedExperts(nn.Module):
    """In the place of transformers' experts: those of one group are one.

    Args:
        groups: for each expert, the place of its group.
        parts: of each group the pieces of gate, up and down.
    """

    def __init__(
        self,
        groups: Sequence[int],
        parts: Sequence[tuple[Mapping[str, Tensor], ...]],
        act: nn.Module,
    ) -> None:
        super().__init__()
        self.register_buffer("group_of", torch.tensor(list(groups)), persistent=False)
        linear = [nn.ModuleList(FactoredLinear(pieces) for pieces in own) for own in parts]
        self.groups, self.act_fn = nn.ModuleList(linear), act

    def forward(self, hidden_TM: Tensor, index_TK: Tensor, weights_TK: Tensor) -> Tensor:
        out = torch.zeros_like(hidden_TM)
        chosen_TK = self.get_buffer("group_of")[index_TK]
        for group in sorted(set(chosen_TK.flatten().tolist())):
            token, place = torch.where(chosen_TK == group)
            gate, up, down = self.groups[group].children()
            hidden = self.act_fn(gate(hidden_TM[token])) * up(hidden_TM[token])
            part = down(hidden) * weights_TK[token, place, None]
            out.index_add_(0, token, part.to(out.dtype))
        return out


def load_grouped(folder: Path, dtype: torch.dtype = torch.float32) -> Any:
    """transformers' model of a folder written with `form: grouped`.

    Raises CheckpointError where it is none.
    """
    checkpoint = Checkpoint(read_index(folder))
    note = checkpoint.index.config.get("evomerge")
    if checkpoint.index.config.get("model_type") != MODEL_TYPE or not isinstance(note, dict):
        raise CheckpointError(
            "not a mixture with grouped experts",
            where=str(folder),
            remedy="write one with m_smoe and form: grouped; load others with transformers",
        )
    tensors = {name: tensor.clone() for name, tensor in checkpoint.tensors()}
    pieces = {name: tensors.pop(name) for name in list(tensors) if _PIECE.match(name)}
    pieces = {name: x.to(dtype) if x.is_floating_point() else x for name, x in pieces.items()}
    model = _bare(checkpoint.index.config, note, tensors, pieces, dtype)
    _replace(model, note["groups"], pieces)
    return model.eval()


def _bare(
    config: Mapping[str, Any],
    note: Mapping[str, Any],
    tensors: dict[str, Tensor],
    pieces: Mapping[str, Tensor],
    dtype: torch.dtype,
) -> Any:
    """The model with experts of one hidden unit, whose place the groups then take."""
    import transformers

    key = width_key(config)
    own = {k: v for k, v in config.items() if k != "evomerge"}
    described = transformers.AutoConfig.for_model(
        **{**own, "model_type": note["model_type"], key: 1}
    )
    side = int(config["hidden_size"])
    for home, groups in note["groups"].items():
        parts = {
            hit["part"] for name in pieces if (hit := _PIECE.match(name)) and hit["home"] == home
        }
        for number in range(len(groups)):
            for part in parts:
                shape = (side, 1) if is_down(part) else (1, side)
                tensors[f"{home}.experts.{number}.{part}.weight"] = torch.zeros(shape, dtype=dtype)
    with torch.device("meta"):
        architecture = type(transformers.AutoModelForCausalLM.from_config(described))
    model = architecture.from_pretrained(None, config=described, state_dict=tensors, dtype=dtype)
    setattr(model.config, key, config[key])
    return model


def _replace(
    model: nn.Module, groups: Mapping[str, Sequence[int]], pieces: Mapping[str, Tensor]
) -> None:
    """Put the groups where transformers has its experts, layer by layer."""
    found: dict[str, dict[int, dict[str, dict[str, Tensor]]]] = {}
    for name, tensor in pieces.items():
        hit = _PIECE.match(name)
        assert hit is not None
        parts = found.setdefault(hit["home"], {}).setdefault(int(hit["group"]), {})
        piece = hit["piece"].removeprefix(".").removesuffix(".weight")
        parts.setdefault(hit["part"], {})[piece] = tensor
    owners = [module for _, module in model.named_modules() if hasattr(module, "experts")]
    homes = sorted(found, key=lambda home: [int(n) for n in re.findall(r"\d+", home)])
    for owner, home in zip(owners, homes, strict=True):
        own = [found[home][number] for number in sorted(found[home])]
        layer = Layer(home, len(groups[home]), tuple(sorted(own[0])))
        if layer.gate is None:
            raise CheckpointError(f"experts of {home} have no gate", where=home)
        order = (layer.gate, layer.up, layer.down)
        act = owner.experts.act_fn
        owner.experts = GroupedExperts(groups[home], [tuple(x[p] for p in order) for x in own], act)


__all__ = ["MODEL_TYPE", "FactoredLinear", "GroupedExperts", "GroupedWriter", "load_grouped"]
