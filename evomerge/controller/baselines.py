"""The trivial merges that every search is measured against, scored before it starts.

Published defaults: task arithmetic λ = 0.4 (Ilharco et al. 2023), TIES density 0.2 and λ = 1 with
the mean over agreeing entries (Yadav et al. 2023), DARE-TIES drop rate 0.5 followed by TIES' mean
(Yu et al. 2024). Greedy soup after Wortsman et al. 2022, on the search split.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from evomerge.hub import short_name
from evomerge.recipe import Recipe, Scalar, Settings, Source, constant

TASK_ARITHMETIC_LAMBDA = 0.4
TIES_DENSITY = 0.2
DARE_DENSITY = 0.5
GREEDY_SOUP = "greedy soup"
Rank = tuple[float, float]


@dataclass(frozen=True)
class Baseline:
    """A recipe with a name. `weights` says how much of each model's delta it adds (for starts)."""

    label: str
    recipe: Recipe
    weights: Mapping[str, float]

    @property
    def settings(self) -> dict[str, Scalar]:
        """The parameters of its recipe that are one value for everything, by name."""
        blocks = [*(source.parameters for source in self.recipe.sources()), self.recipe.parameters]
        first = {name: setting[0].value for block in blocks for name, setting in block.items()}
        return {name: value for name, value in first.items() if not isinstance(value, tuple)}


def fixed_baselines(
    base: str, models: Sequence[str], *, dtype: str | None = None, seed: int = 0
) -> list[Baseline]:
    """Base, each expert, uniform average, task arithmetic, TIES, DARE-TIES."""
    share = 1 / len(models)
    baselines = plain_soups(base, models, dtype=dtype)
    for label, method, settings, weight in (
        ("task arithmetic", "task_arithmetic", {"lambda": TASK_ARITHMETIC_LAMBDA}, 0.4),
        ("TIES", "ties", {"density": TIES_DENSITY, "lambda": 1.0, "normalize": True}, share),
        (
            "DARE-TIES",
            "dare_ties",
            {"density": DARE_DENSITY, "lambda": 1.0, "normalize": True},
            share,
        ),
    ):
        recipe = _delta_merge(method, base, models, settings, dtype=dtype, seed=seed)
        baselines.append(Baseline(label, recipe, dict.fromkeys(models, weight)))
    return baselines


def plain_soups(base: str, models: Sequence[str], *, dtype: str | None = None) -> list[Baseline]:
    """Base, each expert, uniform average."""
    singles = [(f"expert {short_name(model)}", [model]) for model in models]
    soups = [("base", [base]), *singles, ("uniform average", list(models))]
    return [soup(label, base, members, dtype=dtype) for label, members in soups]


def soup(label: str, base: str, members: Sequence[str], *, dtype: str | None = None) -> Baseline:
    """The uniform average of `members`."""
    recipe = Recipe(
        merge_method="linear",
        base_model=base,
        models=tuple(Source(model=m, parameters={"weight": constant(1.0)}) for m in members),
        dtype=dtype,
    )
    share = 1 / len(members)
    return Baseline(label, recipe, {member: share for member in members if member != base})


def _delta_merge(
    method: str,
    base: str,
    models: Sequence[str],
    settings: Mapping[str, float | bool],
    *,
    dtype: str | None,
    seed: int,
) -> Recipe:
    per_model: Settings = {"weight": constant(1.0)}
    if "density" in settings:
        per_model["density"] = constant(settings["density"])
    shared = {name: constant(value) for name, value in settings.items() if name != "density"}
    return Recipe(
        merge_method=method,
        base_model=base,
        models=tuple(Source(model=model, parameters=per_model) for model in models),
        parameters=shared,
        dtype=dtype,
        seed=seed if method.startswith("dare") else 0,
    )


class GreedySoup:
    """Adds experts, best first, for as long as the soup gets strictly better.

    Pure: feed it scores (anything that compares, bigger is better), ask it for the next trial.
    """

    def __init__(self, base: str, ranked: Sequence[str], best: Rank, dtype: str | None) -> None:
        self._base, self._dtype = base, dtype
        self._members = [ranked[0]]
        self._rest = list(ranked[1:])
        self._best = best

    def next_trial(self) -> Baseline | None:
        """The soup to score next, or None when every expert was tried."""
        if not self._rest:
            return None
        members = [*self._members, self._rest[0]]
        return soup(f"{GREEDY_SOUP}, trial {len(members)}", self._base, members, dtype=self._dtype)

    def tell(self, score: Rank) -> None:
        """The trial's score."""
        candidate = self._rest.pop(0)
        if score > self._best:
            self._members.append(candidate)
            self._best = score

    def result(self) -> Baseline:
        """The soup that is left."""
        return soup(GREEDY_SOUP, self._base, self._members, dtype=self._dtype)
