"""M-SMoE and MC-SMoE: a mixture of experts with fewer experts, each perhaps of low rank.

The declaration alone: the model is made as a whole (`evomerge.merging.experts`). docs/moe.md has it all.
"""

from evomerge.methods.base import Method, Parameter, Values


def statistics(values: Values) -> tuple[str, ...]:
    """How tokens are routed; what goes into the routers where experts' outputs matter."""
    outputs = values["similarity"] == "expert_outputs" or values["hidden"] != 1.0
    return ("routing", "activations") if outputs else ("routing",)


M_SMOE = Method(
    name="m_smoe",
    doc="Groups the experts of each layer around the most used ones, brings their hidden units into one "
    "order and merges each group by usage; then makes experts low-rank or narrower, where asked (MC-SMoE).",
    formula="W_g = Σ_{e∈g} uₑ^γ Wₑ / Σ_{e∈g} uₑ^γ;  W ≈ U V + S, S of few rows",
    source="Li et al. 2024, Merge, then compress: demystify efficient SMoE with hints from its "
    "routing policy",
    parameters=(
        Parameter(
            "keep",
            "groups of experts, as a share of the experts, rounded up",
            0.5,
            low=0.0,
            low_open=True,
            high=1.0,
            search=(0.25, 1.0),
        ),
        Parameter(
            "allocation",
            "`global`: layers share the groups out by usage (the paper); `layer`: each has as many",
            "global",
            kind="choice",
            choices=("global", "layer"),
        ),
        Parameter(
            "similarity",
            "experts join whom they resemble by `router_logits` (the paper), by `expert_outputs`, or "
            "by `weights`",
            "router_logits",
            kind="choice",
            choices=("router_logits", "expert_outputs", "weights"),
        ),
        Parameter(
            "usage_power", "γ: power of the usage as a weight", 1.0, low=0.0, search=(0.0, 2.0)
        ),
        Parameter("reorder", "bring hidden units into one order first", True, kind="bool"),
        Parameter(
            "router",
            "`keep`: every expert stays in its place, with its group's weights (the paper's routing); "
            "`reduce`: one expert and one router row a group",
            "keep",
            kind="choice",
            choices=("keep", "reduce"),
            resizes=True,
        ),
        Parameter(
            "rank",
            "ρ: parameters of the low-rank part, as a share of the expert's; 1: experts stay as they "
            "are",
            1.0,
            low=0.0,
            low_open=True,
            high=1.0,
            search=(0.1, 1.0),
        ),
        Parameter(
            "rows",
            "share of rows in which what the low-rank part lacks is kept",
            0.1,
            low=0.0,
            high=1.0,
            search=(0.0, 0.5),
        ),
        Parameter(
            "hidden",
            "share of each expert's hidden units that stay, those that give most to its output; the down "
            "matrix is fitted anew",
            1.0,
            low=0.0,
            low_open=True,
            high=1.0,
            search=(0.5, 1.0),
            resizes=True,
        ),
        Parameter(
            "form",
            "`stock`: a full matrix for every expert; `grouped`: a form of evomerge's own, each group once "
            "and low rank in factors",
            "stock",
            kind="choice",
            choices=("stock", "grouped"),
            resizes=True,
            stored=True,
        ),
    ),
    base="optional",
    min_models=1,
    max_models=1,
    statistics=statistics,
    rebuilds=True,
)
