"""The groups of a transformer, from the names and shapes of its tensors and its config.

    mlp        hidden units: rows of gate and up, columns of down; each expert of a mixture has its own
    heads      heads with the same keys and values; their queries follow them
    values     the dimensions of a head's values, between V and O; not of queries and keys, whose
               order rotary positions fix
    residual   the residual stream: everything that reads or writes it, gains of norms included

Two tables of name endings cover the Llama family (Llama, Mistral, Mixtral, Qwen, Gemma, OLMo), GPT-2, and
encoders named as BERT and ViT. Whatever has an axis that no rule speaks of is refused: half a
permutation would change the network.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from evomerge.alignment.groups import Axis, Group, Kind, Shapes, Side, check_groups
from evomerge.errors import CheckpointError


class _Rule(NamedTuple):
    """Names that end like this have units of a kind along a dimension."""

    kind: Kind
    ending: str
    dim: int
    side: Side


_P = r"\.(?:weight|bias)"
_MLP_UP = r"(?:gate_proj|up_proj|w1|w3|fc1|intermediate\.dense)"
_MLP_DOWN = r"(?:down_proj|w2|fc2|(?<!attention\.)output\.dense)"
_QKV = r"(?:[qkv]_proj|(?:query|key|value)(?!_))"
_OUT = r"(?:o_proj|out_proj|attention\.output\.dense)"
_NORM = r"(?:\w*norm\w*|LayerNorm|ln_\w+|layernorm_\w+)"
_HEAD_NORM = r"(?:q_norm|k_norm)"
_GATES = r"(?:mlp\.gate|block_sparse_moe\.gate|shared_expert_gate)"
_TOKENS = (
    r"(?:embed_tokens|wte|wpe|word_embeddings|position_embeddings|token_type_embeddings"
    r"|embed_positions)"
)
_HEAD = r"(?:lm_head|score|classifier|pooler\.dense)"

_RULES = (
    _Rule("mlp", rf"{_MLP_UP}{_P}", 0, "out"),
    _Rule("mlp", rf"{_MLP_DOWN}\.weight", 1, "in"),
    _Rule("mlp", r"mlp\.c_fc\.weight", 1, "out"),
    _Rule("mlp", r"mlp\.c_fc\.bias", 0, "out"),
    _Rule("mlp", r"mlp\.c_proj\.weight", 0, "in"),
    _Rule("heads", rf"{_QKV}{_P}", 0, "out"),
    _Rule("heads", rf"{_OUT}\.weight", 1, "in"),
    _Rule("heads", r"attn\.c_attn\.weight", 1, "out"),
    _Rule("heads", r"attn\.c_attn\.bias", 0, "out"),
    _Rule("heads", r"attn\.c_proj\.weight", 0, "in"),
    _Rule("residual", rf"{_MLP_UP}\.weight", 1, "in"),
    _Rule("residual", rf"{_MLP_DOWN}{_P}", 0, "out"),
    _Rule("residual", rf"{_QKV}\.weight", 1, "in"),
    _Rule("residual", rf"{_OUT}{_P}", 0, "out"),
    _Rule("residual", r"(?:mlp\.c_fc|attn\.c_attn)\.weight", 0, "in"),
    _Rule("residual", r"(?:mlp|attn)\.c_proj\.weight", 1, "out"),
    _Rule("residual", r"(?:mlp|attn)\.c_proj\.bias", 0, "out"),
    _Rule("residual", rf"{_NORM}{_P}", 0, "out"),
    _Rule("residual", rf"{_TOKENS}\.weight", 1, "out"),
    _Rule("residual", rf"{_HEAD}\.weight", 1, "in"),
    _Rule("residual", rf"{_GATES}\.weight", 1, "in"),
    _Rule("residual", r"(?:cls_token|mask_token|position_embeddings)", 2, "out"),
    _Rule("residual", r"patch_embeddings\.projection\.(?:weight|bias)", 0, "out"),
)
_UNMOVED = (rf"{_HEAD}\.bias", r"rotary_emb\.inv_freq", r"position_ids")
"""Endings of tensors that have no unit's axis."""


def transformer_groups(config: Mapping[str, Any], shapes: Shapes) -> tuple[Group, ...]:
    """The groups of a transformer. Raises CheckpointError where it is none of those known."""
    found = _Finder(config, shapes)
    groups = (*found.layers(), *found.residual())
    check_groups(groups, shapes)
    return groups


class _Finder:
    def __init__(self, config: Mapping[str, Any], shapes: Shapes) -> None:
        self.config, self.shapes = config, shapes
        self.axes: dict[tuple[Kind, str], list[Axis]] = {}
        self.pooled = any("pooler.dense" in name for name in shapes)
        for name in sorted(shapes):
            rules = list(self._rules(name))
            if not rules and not any(re.search(f"(?:^|\\.){end}$", name) for end in _UNMOVED):
                raise _unknown(name)
            for kind, owner, axis in rules:
                self.axes.setdefault((kind, owner), []).append(axis)

    def _rules(self, name: str) -> Iterator[tuple[Kind, str, Axis]]:
        """The kinds of units that a tensor has, whose they are, and where they lie."""
        for rule in _RULES:
            hit = re.search(rf"(?:^|\.)(?={rule.ending}$)", name)
            if hit is None or self._is_head_norm(name, rule):
                continue
            if self.pooled and re.search(r"classifier\.weight$", name):
                yield "output", "", Axis(name, 1, "in")  # reads the pooler's units, which stay
                continue
            owner = name[: hit.start()] if rule.kind != "residual" else ""
            if rule.kind == "mlp":
                owner = re.sub(r"\.?(?:mlp|intermediate|output)$", "", owner)
            if rule.kind == "heads":
                owner = re.sub(r"\.attention(?:\.attention|\.self)$", "", owner)
                owner = re.sub(r"\.(?:self_attn|attn|attention)$", "", owner)
            yield rule.kind, owner, Axis(name, rule.dim, rule.side)
        if re.search(rf"{_HEAD_NORM}{_P}$", name):
            yield from self._head_norm(name)

    def _is_head_norm(self, name: str, rule: _Rule) -> bool:
        return rule.kind == "residual" and bool(re.search(rf"{_HEAD_NORM}{_P}$", name))

    def _head_norm(self, name: str) -> Iterator[tuple[Kind, str, Axis]]:
        """Gains over all heads follow the heads; those of one head are shared and stay."""
        owner = re.sub(rf"\.?(?:self_attn|attn)?\.?{_HEAD_NORM}{_P}$", "", name)
        if self.shapes[name][0] > self.head_size:
            yield "heads", owner, Axis(name, 0, "out")
        else:
            yield "values", "", Axis(name, 0, "out")  # known, and never moved

    @property
    def head_size(self) -> int:
        return int(self.config.get("head_dim") or self.width // self.heads)

    @property
    def width(self) -> int:
        return int(_first(self.config, "hidden_size", "n_embd"))

    @property
    def heads(self) -> int:
        return int(_first(self.config, "num_attention_heads", "n_head"))

    @property
    def key_heads(self) -> int:
        return int(self.config.get("num_key_value_heads") or self.heads)

    def layers(self) -> Iterator[Group]:
        for (kind, owner), axes in self.axes.items():
            if kind == "mlp":
                size = self.shapes[axes[0].tensor][axes[0].dim]
                yield Group(f"{owner}.mlp", "mlp", size, tuple(axes))
            if kind == "heads":
                yield self._heads(owner, axes)

    def _heads(self, owner: str, axes: list[Axis]) -> Group:
        """Groups of heads that share keys and values, and the value dimensions of each."""
        units, inner = self.key_heads, self.head_size
        placed = [part for axis in axes for part in self._placed(axis)]
        free = tuple(axis for axis in placed if _is_value(axis, self.width))
        name = f"{owner}.heads"
        within = tuple(
            Group(f"{name}.{unit}.values", "values", inner, _value_axes(free, unit, inner))
            for unit in range(units)
        )
        return Group(name, "heads", units, tuple(placed), within, free, inner)

    def _placed(self, axis: Axis) -> Iterator[Axis]:
        """Heads along an axis; three times where queries, keys and values lie in one tensor."""
        entries = self.shapes[axis.tensor][axis.dim]
        if "c_attn" not in axis.tensor:
            yield Axis(axis.tensor, axis.dim, axis.side, 0, entries // self.key_heads)
            return
        for part in range(3):
            start = part * self.width
            yield Axis(axis.tensor, axis.dim, axis.side, start, self.width // self.key_heads)

    def residual(self) -> Iterator[Group]:
        axes = self.axes.get(("residual", ""), [])
        if not axes:
            raise _unknown(next(iter(self.shapes), "none"))
        yield Group("residual", "residual", self.width, tuple(axes))


def _is_value(axis: Axis, width: int) -> bool:
    """Whether an axis of heads is that of values or of what reads them."""
    if "c_attn" in axis.tensor:
        return axis.start == 2 * width
    return axis.side == "in" or bool(re.search(r"(?:v_proj|\bvalue)\.", axis.tensor))


def _value_axes(free: tuple[Axis, ...], unit: int, inner: int) -> tuple[Axis, ...]:
    """The value dimensions of one place, in every head that shares them."""
    return tuple(
        Axis(axis.tensor, axis.dim, axis.side, axis.start + unit * axis.block + first)
        for axis in free
        for first in range(0, axis.block, inner)
    )


def _first(config: Mapping[str, Any], *keys: str) -> Any:
    for key in keys:
        if config.get(key) is not None:
            return config[key]
    raise CheckpointError(
        f"config.json gives no {keys[0]}", remedy="permutations need a transformer's config"
    )


def _unknown(name: str) -> CheckpointError:
    return CheckpointError(
        f"it is not known which units the tensor {name!r} has",
        remedy="permutations know the Llama family, GPT-2, and encoders named as BERT or ViT; "
        "merge others without align",
    )
