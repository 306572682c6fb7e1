"""PLeaS: two networks of one architecture and any origin; units that match become one, the rest stay two.

The declaration alone: the merged network may be wider than either, so that it is made as a whole
(`evomerge.merging.pleas`) and not tensor by tensor. docs/permutations.md has it all.
"""

from evomerge.methods.base import Method, Parameter, Values


def statistics(values: Values) -> tuple[str, ...]:
    """Inputs of linear layers, unless everything is done by weights."""
    by_weights = values["matching"] != "activations" and not values["least_squares"]
    return () if by_weights else ("activations",)


PLEAS = Method(
    name="pleas",
    doc="Matches the units of two networks, merges those that fit and keeps the others of both; then "
    "fits the merged weights to both networks' outputs.",
    formula="[[(W₁+W₂)/2, W₁/2, W₂/2], [W₁, W₁, 0], [W₂, 0, W₂]] on matched units, "
    "then min ‖X Wᵀ − Y‖² + λ‖W − W⁰‖²",
    source="Nasery et al. 2025, PLeaS: merging models with permutations and least squares",
    parameters=(
        Parameter(
            "ratio",
            "share of a group's units that stay apart; rules see the groups' names "
            "(`model.layers.0.mlp`, `model.layers.0.heads`)",
            0.0,
            low=0.0,
            high=1.0,
            search=(0.0, 1.0),
            resizes=True,
        ),
        Parameter(
            "budget",
            "parameters of the merged network, at most so many times one's: ratios are then chosen, and "
            "`ratio` is not read; 0: `ratio` holds",
            0.0,
            low=0.0,
            high=2.0,
            resizes=True,
        ),
        Parameter(
            "allocation",
            "of a budget: by the `programme` that shares it out by `importance` (the paper), or the same "
            "ratio for all groups (`even`)",
            "programme",
            kind="choice",
            choices=("programme", "even"),
        ),
        Parameter(
            "importance",
            "how much a group matters to the programme; rules see the groups' names; 0: as much as its "
            "units misfit, on average",
            0.0,
            low=0.0,
            search=(0.1, 10.0),
            scale="log",
        ),
        Parameter(
            "matching",
            "units are matched by their `weights`, their `activations`, or by `place`",
            "weights",
            kind="choice",
            choices=("weights", "activations", "place"),
        ),
        Parameter(
            "least_squares", "fit the merged weights to both networks' outputs", True, kind="bool"
        ),
        Parameter(
            "ridge",
            "λ: how much the partial merge is drawn to, in parts of the inputs' mean square",
            0.01,
            low=0.0,
            low_open=True,
            search=(1e-4, 1.0),
            scale="log",
        ),
    ),
    base="optional",
    min_models=2,
    max_models=2,
    statistics=statistics,
    rebuilds=True,
)
