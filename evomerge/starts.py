"""Pins what a search starts from, so that a resumed search starts from the same.

Recipe files are read and earlier searches are named when a search is submitted: files may change, and
more searches may end, while it runs.
"""

from pathlib import Path

from evomerge.calibration.recipes import pinned
from evomerge.errors import SpecError
from evomerge.merging.mergekit_yaml import load_recipe
from evomerge.recipe import Recipe
from evomerge.spec import SearchSpec, Starts
from evomerge.store.api import Store
from evomerge.store.types import SearchRecord, SearchStatus


def read_recipes(spec: SearchSpec) -> SearchSpec:
    """The search with the recipes themselves in place of their files.

    Raises RecipeError where a file is no recipe, SpecError where it merges models of another search.
    """
    recipes = tuple(_read(recipe, spec) for recipe in spec.strategy.start.recipes)
    return _with_start(spec, spec.strategy.start.model_copy(update={"recipes": recipes}))


def name_searches(spec: SearchSpec, scope: str, store: Store) -> SearchSpec:
    """The search with the ids of the earlier searches that it learns from.

    Raises NotFoundError for an unknown one, SpecError for one that it cannot learn from.
    """
    wanted = spec.strategy.start.searches
    if wanted == "auto":
        found = [one for one in store.searches() if _obstacle(one, spec, scope) is None]
    else:
        found = [store.search(name) for name in wanted]
        for one in found:
            _check(one, spec, scope)
    ids = tuple(sorted(one.id for one in found))
    return _with_start(spec, spec.strategy.start.model_copy(update={"searches": ids}))


def _read(recipe: Recipe | Path, spec: SearchSpec) -> Recipe:
    if isinstance(recipe, Recipe):
        return recipe
    found = load_recipe(recipe)
    known = {spec.base_model, *spec.models}
    strange = [model for model in found.all_models() if model not in known]
    if strange:
        raise SpecError(
            f"merges {strange[0]}, which is none of the search's models",
            where=f"strategy.start.recipes: {recipe}",
            remedy="write the models as base_model and models of the search file resolve them",
        )
    return pinned(found, recipe.parent)


def _check(earlier: SearchRecord, spec: SearchSpec, scope: str) -> None:
    obstacle = _obstacle(earlier, spec, scope)
    if obstacle is not None:
        raise SpecError(
            f"{earlier.id} {obstacle}",
            where="strategy.start.searches",
            remedy="name finished searches over the same models, tasks and space, or write auto",
        )


def _obstacle(earlier: SearchRecord, spec: SearchSpec, scope: str) -> str | None:
    """Why a search cannot learn from an earlier one; None if it can."""
    if earlier.status is not SearchStatus.FINISHED:
        return f"is {earlier.status}, and may still change"
    if earlier.scope != scope:
        return "scored other models or tasks, or with other versions"
    same = (spec.base_model, spec.models, spec.space_spec)
    if (earlier.spec.base_model, earlier.spec.models, earlier.spec.space_spec) != same:
        return "searched another space"
    return None


def _with_start(spec: SearchSpec, start: Starts) -> SearchSpec:
    strategy = spec.strategy.model_copy(update={"start": start})
    return spec.model_copy(update={"strategy": strategy})
